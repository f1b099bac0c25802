"""Publishing a source: its tables, its entry in `corpus.json`, and its unlisted files."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from surgrec.parquet import parquet_of_groups
from surgrec.shards._corpus_file import SourceEntry
from surgrec.shards._index import (
    Dropped,
    VideoLabel,
    index_tables,
    rows_to_parquet,
)
from surgrec.shards._write import Shard
from surgrec.shards.layout import (
    DROPPED_FILE,
    INDEX_FILE,
    LABELS_FILE,
    TABLES,
    Sample,
    is_shard_name,
    is_suffixed_table,
    table_name,
)
from surgrec.shards.totals import IndexCount
from surgrec.storage import Store


def write_source(
    store: Store,
    name: str,
    *,
    samples: Iterable[Sequence[Sample]],
    shards: Sequence[Shard],
    labels: Sequence[VideoLabel],
    dropped: Sequence[Dropped],
    videos_failed: int,
    plan: str,
    videos_public: int = 0,
    split_rule: str = "",
    further: pa.Table | None = None,
) -> SourceEntry:
    """Write the tables of a source and return its entry for `corpus.json`.

    Call it when all shards of the source are in the store. Tables that `corpus.json` lists stay
    readable, also those of another build of this source: the new ones have other names, until
    `settle_tables`.

    Args:
        store: The corpus root.
        name: Name of the source.
        samples: All samples, at least one, in parts as in `index_tables`, such as the groups. Only
            some of them are in memory at once.
        shards: All shards.
        labels: Labels by the time of their videos.
        dropped: Segments of video that no shard contains.
        videos_failed: Number of videos that could not be used.
        plan: Digest of the request that the source was built from.
        videos_public: Number of stored videos whose names were not made with the private key.
        split_rule: Published split that the stored splits follow, with its status.
        further: Columns of the index beyond the format, with `key` and `sha256` of their clips.
    """
    count = IndexCount()
    tables = {
        LABELS_FILE: rows_to_parquet(VideoLabel, labels),
        DROPPED_FILE: rows_to_parquet(Dropped, dropped),
        INDEX_FILE: parquet_of_groups(map(count.add, index_tables(samples, further))),
    }
    return SourceEntry(
        shards=sorted(shards, key=lambda shard: shard.name),
        videos_failed=videos_failed,
        plan=plan,
        videos_public=videos_public,
        split_rule=split_rule,
        tables=write_tables(store, name, tables),
        **count.totals(shards),
    )


def settle_tables(store: Store, name: str, entry: SourceEntry) -> SourceEntry:
    """Give the tables of a new or changed source their usual names, and return its new entry.

    Call it when `corpus.json` lists the entry: until it lists the new one, it lists the other
    names, which stay.
    """
    for table in TABLES:
        store.write(f"{name}/{table}", store.read(f"{name}/{table_name(table, entry.tables)}"))
    return replace(entry, tables="")


def unlisted_files(
    store: Store, sources: Mapping[str, SourceEntry], prefix: str = ""
) -> Iterator[str]:
    """Yield the names of shards, of their offset files, and of tables that no entry lists.

    They belong to no source: an interrupted or earlier build left them.

    Args:
        store: The corpus root.
        sources: Entries by source.
        prefix: Only names that begin with it.
    """
    listed = {f"{name}/{shard.name}" for name, entry in sources.items() for shard in entry.shards}
    listed |= {
        f"{name}/{table_name(table, entry.tables)}"
        for name, entry in sources.items()
        for table in TABLES
    }

    for name in store.list(prefix):
        file = name.removesuffix(".idx")
        base = file.rpartition("/")[2]
        of_source = is_shard_name(base) or is_suffixed_table(base) or base in TABLES

        if of_source and file not in listed:
            yield name


def write_tables(store: Store, name: str, tables: Mapping[str, bytes]) -> str:
    """Write tables under new names, and return the suffix of the names."""
    suffix = f"-{hashlib.sha256(b''.join(tables.values())).hexdigest()[:8]}"
    for table, data in tables.items():
        store.write(f"{name}/{table_name(table, suffix)}", data)
    return suffix
