"""`corpus.json`: the sources of a corpus, their shards, and the settings they were built with."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from surgrec.errors import MissingError, ShardError
from surgrec.shards._write import Shard
from surgrec.shards.layout import (
    CORPUS_FILE,
    SCHEMA_VERSION,
    check_row,
    check_source_name,
    is_tables_suffix,
)
from surgrec.storage import Store


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """The entry of one source in `corpus.json`."""

    domain: str
    shards: list[Shard]
    samples: int
    videos: int
    """Videos with at least one sample."""
    videos_failed: int
    """Videos that could not be used."""
    cases: int
    hours: float
    """Hours of stored video."""
    bytes: int
    """Size of all shards."""
    digest: str
    """SHA-256 over the (key, sha256) rows."""
    plan: str
    """Digest of the requested videos, cases, splits, labels and settings."""
    tables: str = ""
    """Suffix in the names of its tables; not empty only while a build replaces the source."""


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """The content of `corpus.json`."""

    schema_version: int = SCHEMA_VERSION
    settings: dict[str, Any] = field(default_factory=dict)
    """How the clips were encoded and packed."""
    encoder: dict[str, str] = field(default_factory=dict)
    """What decides the bytes of clips; a corpus never mixes two."""
    sources: dict[str, SourceEntry] = field(default_factory=dict)

    @classmethod
    def read(cls, store: Store) -> "CorpusFile | None":
        """Return the content of the store's `corpus.json`, or None if the store has none.

        Raises:
            ShardError: The file has another format version, or breaks the format.
        """
        context = store.locate(CORPUS_FILE)
        try:
            data = json.loads(store.read(CORPUS_FILE))
        except MissingError:
            return None
        except ValueError as error:
            raise ShardError(
                f"{context} is not valid JSON ({error}); build the corpus again"
            ) from None

        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            found = "no schema version" if version is None else f"schema version {version!r}"
            is_newer = isinstance(version, int) and version > SCHEMA_VERSION
            raise ShardError(
                f"{context} has {found}, but this version of SurgRec reads version "
                f"{SCHEMA_VERSION}; "
                f"{'update SurgRec' if is_newer else 'build the corpus again'}"
            )

        row = check_row(CorpusFile, data, context)
        sources = {
            check_source_name(name, context): _source_entry(entry, f"{context}, source {name}")
            for name, entry in row["sources"].items()
        }
        return cls(**(row | {"sources": sources}))

    def write(self, store: Store) -> None:
        """Write `corpus.json`. Call it last: until then, readers see the corpus as before."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"
        store.write(CORPUS_FILE, text.encode("utf-8"))


def _source_entry(data: object, context: str) -> SourceEntry:
    row = check_row(SourceEntry, data, context)
    shards = [Shard(**check_row(Shard, shard, context)) for shard in row["shards"]]
    if not is_tables_suffix(row["tables"]):
        raise ShardError(
            f"{context}: tables is {row['tables']!r}, an invalid suffix; build the corpus again"
        )
    return SourceEntry(**(row | {"shards": shards}))
