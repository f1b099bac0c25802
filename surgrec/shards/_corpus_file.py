"""`corpus.json`: the sources of a corpus, their shards, and the settings they were built with."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

from msgspec import Meta

from surgrec.errors import MissingError, ShardError, StorageError
from surgrec.json_files import MAX_BYTES, decode_json, typed
from surgrec.shards._write import Shard
from surgrec.shards.history import Change
from surgrec.shards.layout import (
    CORPUS_FILE,
    SCHEMA_VERSION,
    TABLES,
    check_source_name,
    is_tables_suffix,
    table_name,
)
from surgrec.storage import Store

_CHANGE_TRIES = 100
_REMEDY = "copy the corpus or build it again"
_Count = Annotated[int, Meta(ge=0)]


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """The entry of one source in `corpus.json`."""

    domain: str
    shards: list[Shard]
    samples: _Count
    videos: _Count
    """Videos with at least one sample."""
    videos_failed: _Count
    """Videos that could not be used."""
    cases: _Count
    hours: Annotated[float, Meta(ge=0)]
    """Hours of stored video."""
    bytes: _Count
    """Size of all shards."""
    digest: str
    """SHA-256 over the (key, sha256) rows."""
    plan: str
    """Digest of the requested videos, cases, splits, labels and settings."""
    tables: str = ""
    """Suffix in the names of its tables; not empty only while a build writes the source."""
    videos_public: _Count = 0
    """Videos with samples whose names and cases were not made with the private key."""
    split_rule: str = ""
    """Published split that the stored splits follow, with its status, such as `endonet (official)`;
    empty: none is known."""

    def missing_tables(self, store: Store, name: str) -> list[str]:
        """Return the file names of tables of the source `name` that the store lacks."""
        return [
            table
            for table in TABLES
            if not store.exists(f"{name}/{table_name(table, self.tables)}")
        ]


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """The content of `corpus.json`."""

    schema_version: int = SCHEMA_VERSION
    settings: dict[str, Any] = field(default_factory=dict)
    """How the clips were encoded and packed."""
    encoder: dict[str, str] = field(default_factory=dict)
    """Facts that decide the bytes of clips; a corpus never mixes two encoders."""
    sources: dict[str, SourceEntry] = field(default_factory=dict)
    key: str = ""
    """Fingerprint of the private key that made the names of videos and cases."""
    history: list[Change] = field(default_factory=list)
    """Changes of published sources, the oldest first. A new source is no change."""

    @classmethod
    def read(cls, store: Store) -> "CorpusFile | None":
        """Return the content of the store's `corpus.json`, or None if the store has none.

        Raises:
            ShardError: The file has another format version, or breaks the format.
        """
        context = store.locate(CORPUS_FILE)
        try:
            # A store answers with one object of bytes: look at the size of a local file first.
            if store.is_local and store.size(CORPUS_FILE) > MAX_BYTES:
                raise ShardError(f"{context} is larger than {MAX_BYTES:,} bytes; {_REMEDY}")
            text = store.read(CORPUS_FILE)
        except MissingError:
            return None
        data = decode_json(text, dict, context, error=ShardError, remedy=_REMEDY)

        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            found = "no schema version" if version is None else f"schema version {version!r:.40}"
            is_newer = isinstance(version, int) and version > SCHEMA_VERSION
            raise ShardError(
                f"{context} has {found}, but this version of SurgRec reads version "
                f"{SCHEMA_VERSION}; "
                f"{'update SurgRec' if is_newer else 'build the corpus again'}"
            )

        if isinstance(data.get("sources"), dict):
            for name in data["sources"]:
                check_source_name(name, context)
        content = typed(data, cls, context, error=ShardError, remedy=_REMEDY)
        for name, entry in content.sources.items():
            if not is_tables_suffix(entry.tables):
                raise ShardError(
                    f"{context}: sources.{name}.tables is {entry.tables!r:.40}, an invalid suffix; "
                    f"{_REMEDY}"
                )
            counts = Counter(shard.name for shard in entry.shards)
            twice = [shard for shard, count in counts.items() if count > 1]
            if twice:
                raise ShardError(
                    f"{context}: sources.{name}.shards lists {twice[0]!r:.80} twice; {_REMEDY}"
                )
        return content

    def write(self, store: Store) -> None:
        """Write `corpus.json`. Call it last: until then, readers see the corpus as before."""
        store.write(CORPUS_FILE, self._bytes())

    @classmethod
    def change(
        cls,
        store: Store,
        change: "Callable[[CorpusFile | None], CorpusFile]",
        *,
        is_alone: bool = False,
    ) -> "CorpusFile":
        """Write `corpus.json` so that no change of another process is lost. Return its content.

        Args:
            store: The corpus root.
            change: Returns the new content for the present one, which is None if there is none. It
                is called again if another process has written meanwhile.
            is_alone: No other process writes meanwhile, so the store need not support conditions.

        Raises:
            StorageError: Other processes write all the time.
        """
        for _ in range(_CHANGE_TRIES):
            # The version comes first: content that is newer than it will not be replaced.
            try:
                version = store.version(CORPUS_FILE)
            except MissingError:
                version = None
            content = change(cls.read(store))
            if is_alone:
                content.write(store)
                return content
            if store.replace(CORPUS_FILE, content._bytes(), version):
                return content
        raise StorageError(
            f"{store.locate(CORPUS_FILE)} was written by others at each of {_CHANGE_TRIES} tries; "
            "end the other builds, and run the same command again"
        )

    def _bytes(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, sort_keys=True) + "\n").encode("utf-8")
