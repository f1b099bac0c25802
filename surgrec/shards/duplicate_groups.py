"""Duplicate groups: a column of the index, written into a source without touching its shards."""

from dataclasses import replace

from surgrec.parquet import parquet_bytes
from surgrec.shards._corpus import Source
from surgrec.shards._corpus_file import SourceEntry
from surgrec.shards._index import DuplicateGroups, with_duplicate_groups
from surgrec.shards._write_source import write_tables
from surgrec.shards.layout import DROPPED_FILE, INDEX_FILE, LABELS_FILE, table_name


def write_duplicate_groups(source: Source, groups: DuplicateGroups) -> SourceEntry:
    """Write the tables of a source again with other groups, and return its entry.

    As after `write_source`, list the entry in `corpus.json`, then call `settle_tables`.

    Args:
        source: The opened source. Further columns of its index stay.
        groups: Groups of its clips by key and SHA-256; a clip that they lack gets an empty cell.
    """
    tables = {
        table: source.store.read(f"{source.name}/{table_name(table, source.entry.tables)}")
        for table in (LABELS_FILE, DROPPED_FILE)
    }
    tables[INDEX_FILE] = parquet_bytes(with_duplicate_groups(source.index.table(), groups))
    return replace(source.entry, tables=write_tables(source.store, source.name, tables))
