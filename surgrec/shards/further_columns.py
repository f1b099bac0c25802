"""Columns of an index beyond the format, written into a source without touching its shards."""

from dataclasses import replace

import pyarrow as pa
from pyarrow import compute

from surgrec.parquet import parquet_bytes
from surgrec.shards._corpus import Source
from surgrec.shards._corpus_file import SourceEntry
from surgrec.shards._index import with_further_columns
from surgrec.shards._write_source import write_tables
from surgrec.shards.layout import DROPPED_FILE, INDEX_FILE, LABELS_FILE, table_name


def write_further_columns(source: Source, further: pa.Table) -> SourceEntry | None:
    """Write the tables of a source again with other further columns, and return its entry.

    As after `write_source`, list the entry in `corpus.json`, then call `settle_tables`. Nothing is
    written, and None is returned, if the source already has the columns.

    Args:
        source: The opened source. Further columns of its index with other names stay.
        further: Columns `key` and `sha256`, which name the clips of this and of other sources, and
            the new ones. A clip that it lacks gets empty cells.
    """
    own = further.filter(compute.starts_with(further.column("key"), f"{source.name}_"))
    before = source.index.table()
    after = with_further_columns(before, own)
    if not source.entry.tables and after.equals(before):
        return None

    tables = {
        table: source.store.read(f"{source.name}/{table_name(table, source.entry.tables)}")
        for table in (LABELS_FILE, DROPPED_FILE)
    }
    tables[INDEX_FILE] = parquet_bytes(after)
    return replace(source.entry, tables=write_tables(source.store, source.name, tables))
