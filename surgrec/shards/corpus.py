"""A corpus: `corpus.json`, and the indexes of its sources, on a local disk or in an object store."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surgrec.errors import MissingError, ShardError
from surgrec.shards.index import SourceIndex, VideoLabel, labels_from_parquet, read_parquet
from surgrec.shards.index_cache import CACHED_FROM, cached_index
from surgrec.shards.layout import (
    CORPUS_FILE,
    INDEX_FILE,
    LABELS_FILE,
    SCHEMA_VERSION,
    check_row,
    check_source_name,
    is_shard_name,
)
from surgrec.shards.write import Shard
from surgrec.storage import RetryPolicy, Store, open_store

_READERS = 8
"""Indexes that are read at once: in a far store, one after the other would take seconds."""


@dataclass(frozen=True, kw_only=True)
class SourceEntry:
    """What `corpus.json` says about one source."""

    domain: str
    shards: list[Shard]
    samples: int
    videos: int
    """Videos with at least one sample."""
    videos_failed: int
    """Videos that could not be used."""
    cases: int
    hours: float
    """Of stored video."""
    bytes: int
    """Of all shards."""
    digest: str
    """SHA-256 over the (key, sha256) rows."""
    plan: str
    """Digest of what was asked for: videos, cases, splits, labels and settings."""


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """The content of `corpus.json`."""

    schema_version: int = SCHEMA_VERSION
    settings: dict[str, Any] = field(default_factory=dict)
    """How the clips were encoded and packed."""
    encoder: dict[str, str] = field(default_factory=dict)
    """Versions of ffmpeg and x264; a corpus never mixes two."""
    sources: dict[str, SourceEntry] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of an opened corpus."""

    name: str
    entry: SourceEntry
    index: SourceIndex
    store: Store


def read_corpus_file(store: Store) -> CorpusFile | None:
    """The content of `corpus.json`, or None where there is no corpus yet.

    Raises:
        ShardError: The file is not one of this format, or of a newer version of it.
    """
    where = store.locate(CORPUS_FILE)
    try:
        data = json.loads(store.read(CORPUS_FILE))
    except MissingError:
        return None
    except ValueError as error:
        raise ShardError(f"{where} is not JSON ({error}); build the corpus again") from None
    version = data.get("schema_version") if isinstance(data, dict) else None
    if version != SCHEMA_VERSION:
        raise ShardError(
            f"{where} has schema version {version!r}, this surgrec reads {SCHEMA_VERSION}; use the surgrec that built it"
        )
    row = check_row(CorpusFile, data, where)
    sources = {
        check_source_name(name, where): _source_entry(entry, f"{where}, source {name}")
        for name, entry in row["sources"].items()
    }
    return CorpusFile(**(row | {"sources": sources}))


def write_corpus_file(store: Store, corpus: CorpusFile) -> None:
    """Publishes `corpus.json`. Written last: until then, readers see the corpus as it was."""
    store.write(
        CORPUS_FILE, (json.dumps(asdict(corpus), indent=1, sort_keys=True) + "\n").encode("utf-8")
    )


def open_corpus(
    addresses: str | Path | Sequence[str | Path], *, policy: RetryPolicy | None = None
) -> dict[str, Source]:
    """The sources of one or several corpus roots, by name.

    Args:
        addresses: Of the roots; a single string or path is one root.
        policy: How long an object store that fails is tried again; None for the usual five minutes.

    Raises:
        ShardError: A root holds no corpus, an index does not match it, or two roots have a source of the same name.
    """
    roots = [addresses] if isinstance(addresses, (str, Path)) else addresses
    found: dict[str, tuple[Store, SourceEntry]] = {}
    for address in roots:
        store = open_store(address, policy=policy)
        corpus = read_corpus_file(store)
        if corpus is None or not corpus.sources:
            raise ShardError(
                f"{store.address} holds no corpus (no {CORPUS_FILE}); build one with `surgrec-shard build`"
            )
        for name, entry in corpus.sources.items():
            if name in found:
                raise ShardError(
                    f"the source {name!r} is in {found[name][0].address} and in {store.address}; rename one of them"
                )
            found[name] = store, entry
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="index")
    try:
        opened = {
            name: readers.submit(_open_index, store, name, entry)
            for name, (store, entry) in found.items()
        }
        return {
            name: Source(name=name, entry=entry, index=opened[name].result(), store=store)
            for name, (store, entry) in found.items()
        }
    finally:
        readers.shutdown(
            wait=False, cancel_futures=True
        )  # where one cannot be read, the others are of no use


def read_labels(source: Source) -> list[VideoLabel]:
    """The labels of a source by the time of its videos, sorted by video.

    Raises:
        ShardError: They are not in the format.
    """
    name = f"{source.name}/{LABELS_FILE}"
    return labels_from_parquet(source.store.read(name), source.store.locate(name))


def _source_entry(data: object, where: str) -> SourceEntry:
    row = check_row(SourceEntry, data, where)
    shards = [Shard(**check_row(Shard, shard, where)) for shard in row["shards"]]
    return SourceEntry(**(row | {"shards": shards}))


def _open_index(store: Store, name: str, entry: SourceEntry) -> SourceIndex:
    file = f"{name}/{INDEX_FILE}"
    if entry.samples < CACHED_FROM:
        return _read_index(store, name, entry)
    index = cached_index(store, file, lambda: _read_index(store, name, entry))
    _check_rows(index, entry, store.locate(file))
    return index


def _read_index(store: Store, name: str, entry: SourceEntry) -> SourceIndex:
    where = store.locate(f"{name}/{INDEX_FILE}")
    index = SourceIndex(read_parquet(store.read(f"{name}/{INDEX_FILE}"), where), where)
    _check_rows(index, entry, where)
    others = set(index.column("source").unique().to_pylist()) - {name}
    if others:
        raise ShardError(
            f"{where} is the index of {others.pop()!r}; a source keeps the name it was built under"
        )
    for shard in index.column("shard").unique().to_pylist():
        if not is_shard_name(shard):
            raise ShardError(
                f"{where} names the shard {shard!r}, which is no shard of this format; build the corpus again"
            )
    return index


def _check_rows(index: SourceIndex, entry: SourceEntry, where: str) -> None:
    if index.num_rows != entry.samples:
        raise ShardError(
            f"{where} has {index.num_rows} rows, {CORPUS_FILE} says {entry.samples}; run surgrec-shard verify"
        )
