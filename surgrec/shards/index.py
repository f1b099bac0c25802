"""The index of a source as parquet: one row per sample, and what goes with it (labels by video time, dropped stretches)."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.parquet as parquet
from jaxtyping import Int64

from surgrec.errors import ShardError
from surgrec.shards.layout import CLIP_FIELDS, PLACE_FIELDS, Clip, Sample

_ARROW_TYPES = {str: pa.string(), float: pa.float64(), int: pa.int64()}
_INDEX_SCHEMA = pa.schema(
    [(field.name, _ARROW_TYPES[field.type]) for field in fields(Sample) if field.name != "clip"]  # type: ignore[index]
    + [(field.name, _ARROW_TYPES[field.type]) for field in fields(Clip)]  # type: ignore[index]
)


@dataclass(frozen=True, kw_only=True)
class VideoLabel:
    """One row of `labels.parquet`: a labeled stretch in the time of its video, seconds."""

    video: str
    case: str
    split: str
    task: str
    start_s: float
    end_s: float
    value: str


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """One row of `dropped.parquet`: a stretch of a video that is in no shard, seconds, and a one-word reason."""

    video: str
    start_s: float
    end_s: float
    reason: str


class SourceIndex:
    """The rows of one source, held as Arrow columns: compact, shared with forked workers, read one row at a time."""

    def __init__(self, table: pa.Table, where: str, *, keys_digest: bytes | None = None) -> None:
        known = _with_schema(table, _INDEX_SCHEMA, where)
        added = table.drop_columns(_INDEX_SCHEMA.names)
        self._where = where
        self._columns = {
            name: _whole(part.column(name)) for part in (known, added) for name in part.column_names
        }
        self.num_rows = int(table.num_rows)
        self.keys_digest = (
            _digest_of_keys(self._columns["key"]) if keys_digest is None else keys_digest
        )
        """SHA-256 of all keys, in the order of the rows."""

    def table(self) -> pa.Table:
        """All columns, those added to the format's included."""
        return pa.table(self._columns)

    def sample(self, row: int) -> Sample:
        """The sample of one row."""
        clip = Clip(**{name: self._columns[name][row].as_py() for name in CLIP_FIELDS})
        return Sample(
            clip=clip, **{name: self._columns[name][row].as_py() for name in PLACE_FIELDS}
        )

    def key(self, row: int) -> str:
        """The key of one row."""
        return str(self._columns["key"][row].as_py())

    def column(self, name: str) -> Any:
        """One whole column, as an Arrow array."""
        return self._columns[name]

    def rows_digest(self, rows: Int64[np.ndarray, " n"]) -> str:
        """Digest of these rows in their order: equal for the same samples in the same places of the same index."""
        return hashlib.sha256(self.keys_digest + rows.tobytes()).hexdigest()

    def rows(
        self, *, splits: Sequence[str], min_duration_s: float = 0.0
    ) -> Int64[np.ndarray, " n"]:
        """Rows of these splits whose clips last at least `min_duration_s`, ascending."""
        split = compute.is_in(self._columns["split"], value_set=pa.array(list(splits), pa.string()))
        long_enough = self._columns["duration_s"].to_numpy() >= min_duration_s - 1e-6
        return np.flatnonzero(split.to_numpy(zero_copy_only=False) & long_enough).astype(np.int64)

    def groups(
        self, rows: Int64[np.ndarray, " n"], columns: Sequence[str]
    ) -> list[tuple[dict[str, str], Int64[np.ndarray, " _"]]]:
        """Rows apart by the values of some columns, each group with its values; all of them together for no column.

        Raises:
            ShardError: A column is not there, or a row has no value in it.
        """
        if not columns or not len(rows):
            return [({}, rows)]
        encoded = [
            compute.dictionary_encode(self._words(column).take(pa.array(rows)))
            for column in columns
        ]
        codes = np.stack([np.asarray(array.indices) for array in encoded], axis=1)
        combinations, group = np.unique(codes, axis=0, return_inverse=True)
        by_group = np.split(
            rows[np.argsort(group, kind="stable")], np.cumsum(np.bincount(group))[:-1]
        )
        names = [array.dictionary.to_pylist() for array in encoded]
        return [
            (
                {
                    column: words[code]
                    for column, words, code in zip(columns, names, combination, strict=True)
                },
                own,
            )
            for combination, own in zip(combinations.tolist(), by_group, strict=True)
        ]

    def _words(self, column: str) -> Any:
        """A column as strings."""
        if column not in self._columns:
            there = ", ".join(sorted(self._columns))
            raise ShardError(
                f"{self._where} has no column {column!r} to divide samples by; it has {there}"
            )
        if self._columns[column].null_count:
            raise ShardError(
                f"{self._where} has rows without {column}; fill the column before samples are divided by it"
            )
        return self._columns[column].cast(pa.string())


def samples_to_parquet(samples: Sequence[Sample]) -> bytes:
    """`index.parquet`, rows in the order of shard and offset."""
    ordered = sorted(samples, key=lambda sample: (sample.shard, sample.offset))
    columns = {name: [getattr(sample, name) for sample in ordered] for name in PLACE_FIELDS}
    columns |= {name: [getattr(sample.clip, name) for sample in ordered] for name in CLIP_FIELDS}
    return parquet_bytes(pa.Table.from_pydict(columns, schema=_INDEX_SCHEMA))


def rows_to_parquet(
    row_type: type[VideoLabel] | type[Dropped], rows: Sequence[VideoLabel | Dropped]
) -> bytes:
    """`labels.parquet` or `dropped.parquet`, sorted by its columns."""
    schema = row_schema(row_type)
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    return parquet_bytes(table.sort_by([(name, "ascending") for name in schema.names]))


def labels_from_parquet(data: bytes, where: str) -> list[VideoLabel]:
    """The rows of `labels.parquet`.

    Raises:
        ShardError: The bytes are not a sound parquet file, or its columns are not those of labels.
    """
    table = _with_schema(read_parquet(data, where), row_schema(VideoLabel), where)
    return [VideoLabel(**row) for row in table.to_pylist()]


def read_parquet(data: bytes, where: str) -> pa.Table:
    """A parquet file from its bytes.

    Raises:
        ShardError: The bytes are not a parquet file, or a damaged one.
    """
    try:
        table = parquet.ParquetFile(io.BytesIO(data), page_checksum_verification=True).read()
        return table.select(table.column_names)  # reads the names too, which may be damaged as well
    except (
        pa.ArrowException,
        OSError,
        UnicodeDecodeError,
    ) as error:  # pyarrow's own IO errors are OSErrors
        raise ShardError(
            f"{where} is not a sound parquet file ({_first_line(error)}); copy or build it again"
        ) from None


def row_schema(row_type: type) -> pa.Schema:
    """The columns of a table whose rows are instances of a dataclass of strings, integers and floats."""
    return pa.schema([(field.name, _ARROW_TYPES[field.type]) for field in fields(row_type)])  # type: ignore[index]


def _with_schema(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    """The columns of a schema, each of its type and without empty cells. Further columns are left out."""
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise ShardError(
            f"{where} has no column {', '.join(missing)}; it is not a file of this format"
        )
    try:
        table = table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise ShardError(
            f"{where} has a column of another type ({_first_line(error)}); build the corpus again"
        ) from None
    empty = [name for name in schema.names if table.column(name).null_count]
    if empty:
        raise ShardError(f"{where} has rows without {', '.join(empty)}; build the corpus again")
    return table


def _whole(column: pa.ChunkedArray) -> Any:
    """A column as one array; without a copy where it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _digest_of_keys(keys: pa.StringArray) -> bytes:
    digest = hashlib.sha256(compute.binary_length(keys).to_numpy(zero_copy_only=False).tobytes())
    if len(keys):
        offsets, letters = keys.buffers()[1:]
        ends = np.frombuffer(offsets, dtype=np.int32)[keys.offset : keys.offset + len(keys) + 1]
        digest.update(memoryview(letters)[ends[0] : ends[-1]])
    return digest.digest()


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def parquet_bytes(table: pa.Table) -> bytes:
    """A parquet file: zstd, with page checksums, so that `read_parquet` notices damage."""
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
