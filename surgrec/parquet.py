"""Parquet files whose damage is noticed, and tables whose rows are dataclasses."""

import io
from collections.abc import Collection
from dataclasses import fields

import pyarrow as pa
from pyarrow import parquet

from surgrec.errors import ShardError

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
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_parquet(data: bytes, context: str, *, most_rows: int | None = None) -> pa.Table:
    """Return the table of a parquet file.

    Args:
        data: All bytes of the file.
        context: Address of the file, for messages.
        most_rows: Rows above which the file is refused before they are decoded; None: 64 for each
            of its bytes.

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


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; Arrow appends details over many lines."""
    return str(error).partition("\n")[0]
