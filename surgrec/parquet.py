"""Parquet files whose damage is noticed, and tables whose rows are dataclasses."""

import io
from collections.abc import Collection, Iterable, Iterator
from dataclasses import fields

import pyarrow as pa
from pyarrow import parquet

from surgrec.errors import ShardError

GROUP_ROWS = 1 << 20
"""Rows of a row group: pyarrow's own number, which decides the bytes of a file."""
_ARROW_TYPES = {str: pa.string(), float: pa.float64(), int: pa.int64()}


def row_schema(row_type: type, *, skip: Collection[str] = ()) -> pa.Schema:
    """Return the schema of a table whose rows are instances of a dataclass.

    Args:
        row_type: A dataclass of strings, integers and floats.
        skip: Fields that are not columns.
    """
    types = {field.name: field.type for field in fields(row_type) if field.name not in skip}
    return pa.schema([(name, _ARROW_TYPES[kind]) for name, kind in types.items()])  # type: ignore[index]


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as a parquet file, compressed with zstd and with a checksum for every page."""
    return parquet_of_groups([table])


def parquet_of_groups(groups: Iterable[pa.Table]) -> bytes:
    """Return the file of `parquet_bytes` for a table that comes in parts.

    Args:
        groups: Tables of one schema, at least one: the row groups of the file, by `row_groups`.
    """
    buffer, writer = io.BytesIO(), None
    for group in groups:
        if writer is None:
            writer = parquet.ParquetWriter(
                buffer, group.schema, compression="zstd", write_page_checksum=True
            )
        writer.write_table(group, row_group_size=GROUP_ROWS)
    if writer is None:
        raise ValueError("a parquet file needs at least one table, which may be empty")
    writer.close()
    return buffer.getvalue()


def row_groups(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of tables of one schema, in the same order, as the row groups of a file.

    Each has `GROUP_ROWS` rows, but for the last one, and a single chunk per column. A single empty
    table is yielded as it is.
    """
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(part)
        while sum(table.num_rows for table in waiting) > GROUP_ROWS:
            rows = pa.concat_tables(waiting)
            yield rows[:GROUP_ROWS].combine_chunks()
            waiting = [rows[GROUP_ROWS:]]
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def read_parquet(
    data: bytes, context: str, *, most_rows: int | None = None, most_values: int | None = None
) -> pa.Table:
    """Return the table of a parquet file.

    Args:
        data: All bytes of the file.
        context: Address of the file, for messages.
        most_rows: Rows above which the file is refused before they are decoded; None: 64 for each
            of its bytes.
        most_values: Values of all columns above which the file is refused, those of lists counted
            singly; None: no limit.

    Raises:
        ShardError: The bytes are not a parquet file, or are damaged.
    """
    try:
        file = parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
        if file.metadata.num_rows > (64 * len(data) if most_rows is None else most_rows):
            raise ShardError(
                f"{context} has {file.metadata.num_rows} rows in {len(data)} bytes, more than a "
                "true one; copy or build it again"
            )
        if most_values is not None and _num_values(file.metadata) > most_values:
            raise ShardError(
                f"{context} has more than {most_values} values; copy or build it again"
            )
        table = file.read()
        return table.select(table.column_names)  # decodes the names too, which may be damaged
    except (
        pa.ArrowException,
        OSError,
        UnicodeDecodeError,
        KeyError,  # two columns of one name
    ) as error:  # pyarrow raises OSError itself
        raise ShardError(
            f"{context} is not a valid parquet file ({first_line(error)}); copy or build it again"
        ) from None


def _num_values(metadata: parquet.FileMetaData) -> int:
    """Return the number of values of all columns, by the record of the file."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    return sum(
        group.column(index).num_values for group in groups for index in range(group.num_columns)
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; Arrow appends details over many lines."""
    return str(error).partition("\n")[0]
