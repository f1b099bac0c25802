"""Opening corpora: their sources with their indexes, on a local disk or in an object store."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from surgrec.errors import ShardError
from surgrec.parquet import read_parquet
from surgrec.shards import _index_cache
from surgrec.shards._corpus_file import CorpusFile, SourceEntry
from surgrec.shards._index import Dropped, SourceIndex, VideoLabel, rows_from_parquet
from surgrec.shards.check_index import check_index
from surgrec.shards.layout import (
    CORPUS_FILE,
    DROPPED_FILE,
    INDEX_FILE,
    LABELS_FILE,
    table_name,
)
from surgrec.storage import RetryPolicy, Store, open_store

_INDEX_THREADS = 8
"""Indexes read at once: one after the other would take seconds in a distant store."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source of an opened corpus."""

    name: str
    entry: SourceEntry
    index: SourceIndex
    store: Store

    @classmethod
    def open(cls, store: Store, name: str, entry: SourceEntry) -> "Source":
        """Open a source of a `corpus.json` that has been read. Its index is not cached.

        Raises:
            MissingError: The index does not exist.
            ShardError: The index breaks the format, or does not match its entry.
        """
        return cls(name=name, entry=entry, index=_read_index(store, name, entry), store=store)

    def missing_tables(self) -> list[str]:
        """Return the file names of tables that the store lacks."""
        return self.entry.missing_tables(self.store, self.name)

    def dropped(self) -> list[Dropped]:
        """Return the videos and stretches that no shard of the source contains.

        Raises:
            MissingError: The file does not exist.
            ShardError: The file breaks the format.
        """
        name = _table(self.name, self.entry, DROPPED_FILE)
        return rows_from_parquet(Dropped, self.store.read(name), self.store.locate(name))


def open_corpus(
    addresses: str | Path | Sequence[str | Path], *, policy: RetryPolicy | None = None
) -> dict[str, Source]:
    """Open the sources of one or several corpora.

    Args:
        addresses: Roots of the corpora: folders or `s3://bucket/prefix`. A single string or path
            is one root.
        policy: How long to wait for a store; None: five minutes, but 20 s for its first answer.

    Returns:
        The sources by name, in the order of the roots, then of their names.

    Raises:
        ShardError: A root contains no corpus, an index does not match it, or two roots have a
            source of the same name.

    Example:
        >>> source = open_corpus("s3://videos/corpus")["cholec80"]
        >>> source.index.num_rows, source.index.sample(0).clip.case
        (184498, 'video01')
    """
    roots = [addresses] if isinstance(addresses, (str, Path)) else addresses
    entries: dict[str, tuple[Store, SourceEntry]] = {}
    for address in roots:
        store = open_store(address, policy=policy)
        corpus = CorpusFile.read(store)
        if corpus is None or not corpus.sources:
            lack = f"no {CORPUS_FILE}" if corpus is None else f"no source in {CORPUS_FILE}"
            raise ShardError(
                f"{store.address} contains no corpus ({lack}); check the address, or build a "
                "corpus with `surgrec-shard build`"
            )
        for name, entry in corpus.sources.items():
            if name in entries:
                raise ShardError(
                    f"source {name!r} is in both {entries[name][0].address} and {store.address}; "
                    "build one of them again under another name"
                )
            entries[name] = store, entry

    readers = ThreadPoolExecutor(_INDEX_THREADS, thread_name_prefix="index")
    try:
        indexes = {
            name: readers.submit(_open_index, store, name, entry)
            for name, (store, entry) in entries.items()
        }
        return {
            name: Source(name=name, entry=entry, index=indexes[name].result(), store=store)
            for name, (store, entry) in entries.items()
        }
    finally:
        readers.shutdown(wait=False, cancel_futures=True)  # after an error, stop reading the others


def read_corpus_labels(source: Source) -> list[VideoLabel]:
    """Return the labels of a source by the time of its videos, sorted by video.

    Raises:
        ShardError: The file of labels breaks the format.
    """
    name = _table(source.name, source.entry, LABELS_FILE)
    return rows_from_parquet(VideoLabel, source.store.read(name), source.store.locate(name))


def _open_index(store: Store, name: str, entry: SourceEntry) -> SourceIndex:
    """Read an index, or map it from the cache of large indexes."""
    file = _table(name, entry, INDEX_FILE)
    if entry.samples < _index_cache.CACHED_FROM:
        index = _read_index(store, name, entry)
    else:
        index = _index_cache.cached_index(
            store, file, lambda: _read_index(store, name, entry), entry=repr(entry)
        )
        _check_num_rows(index, entry, store.locate(file))
    index.reopen = partial(_open_index, store, name, entry)
    return index


def _read_index(store: Store, name: str, entry: SourceEntry) -> SourceIndex:
    file = _table(name, entry, INDEX_FILE)
    context = store.locate(file)
    data = store.read(file)
    # Each row has a key and a digest of its own, which take bytes. More rows would be a trap.
    index = SourceIndex(read_parquet(data, context, most_rows=len(data)), context)
    _check_num_rows(index, entry, context)

    check_index(
        index.column,
        name,
        entry,
        context,
        has_scores=index.has_scores,
        has_clocks=index.has_clocks,
    )
    return index


def _table(name: str, entry: SourceEntry, table: str) -> str:
    """Return the name of a table of a source in its store."""
    return f"{name}/{table_name(table, entry.tables)}"


def _check_num_rows(index: SourceIndex, entry: SourceEntry, context: str) -> None:
    if index.num_rows != entry.samples:
        raise ShardError(
            f"{context} has {index.num_rows} rows, but {CORPUS_FILE} lists {entry.samples} "
            "samples; copy both files again, or build the corpus again"
        )
