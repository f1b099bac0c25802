"""The index of a source as parquet: one row per sample, and what goes with it (labels by video time, dropped stretches)."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pyarrow as pa
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
    """One row of `labels.parquet`: a labelled stretch in the time of its video, seconds."""

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

    def __init__(self, table: pa.Table, where: str) -> None:
        missing = [column for column in _INDEX_SCHEMA.names if column not in table.column_names]
        if missing:
            raise ShardError(f"{where} has no column {', '.join(missing)}; it is not an index of this format")
        try:
            table = table.select(_INDEX_SCHEMA.names).cast(_INDEX_SCHEMA)
        except pa.ArrowException as error:
            raise ShardError(
                f"{where} has a column of another type ({_first_line(error)}); build the corpus again"
            ) from None
        self._columns = {name: table.column(name).combine_chunks() for name in _INDEX_SCHEMA.names}
        empty = [name for name, column in self._columns.items() if column.null_count]
        if empty:
            raise ShardError(f"{where} has rows without {', '.join(empty)}; build the corpus again")
        self.num_rows = int(table.num_rows)

    def sample(self, row: int) -> Sample:
        """The sample of one row."""
        value = {name: column[row].as_py() for name, column in self._columns.items()}
        clip = Clip(**{name: value[name] for name in CLIP_FIELDS})
        return Sample(clip=clip, **{name: value[name] for name in PLACE_FIELDS})

    def key(self, row: int) -> str:
        """The key of one row."""
        return str(self._columns["key"][row].as_py())

    def column(self, name: str) -> Any:
        """One whole column, as an Arrow array."""
        return self._columns[name]

    def rows_digest(self, rows: Int64[np.ndarray, " n"]) -> str:
        """Digest of the keys of these rows, in their order: equal for the same samples in the same places."""
        keys = self._columns["key"].take(pa.array(rows)).to_pylist()
        return hashlib.sha256("\n".join(keys).encode("utf-8")).hexdigest()

    def rows(self, *, splits: Sequence[str], min_duration_s: float = 0.0) -> Int64[np.ndarray, " n"]:
        """Rows of these splits whose clips last at least `min_duration_s`, ascending."""
        split = np.isin(np.asarray(self._columns["split"].to_numpy(zero_copy_only=False), dtype=str), list(splits))
        long_enough = self._columns["duration_s"].to_numpy() >= min_duration_s - 1e-6
        return np.flatnonzero(split & long_enough).astype(np.int64)


def samples_to_parquet(samples: Sequence[Sample]) -> bytes:
    """`index.parquet`, rows in the order of shard and offset."""
    ordered = sorted(samples, key=lambda sample: (sample.shard, sample.offset))
    columns = {name: [getattr(sample, name) for sample in ordered] for name in PLACE_FIELDS}
    columns |= {name: [getattr(sample.clip, name) for sample in ordered] for name in CLIP_FIELDS}
    return _to_bytes(pa.Table.from_pydict(columns, schema=_INDEX_SCHEMA))


def rows_to_parquet(row_type: type[VideoLabel] | type[Dropped], rows: Sequence[VideoLabel | Dropped]) -> bytes:
    """`labels.parquet` or `dropped.parquet`, sorted by its columns."""
    schema = pa.schema([(field.name, _ARROW_TYPES[field.type]) for field in fields(row_type)])  # type: ignore[index]
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=schema)
    return _to_bytes(table.sort_by([(name, "ascending") for name in schema.names]))


def read_parquet(data: bytes, where: str) -> pa.Table:
    """A parquet file from its bytes.

    Raises:
        ShardError: The bytes are not a parquet file, or a damaged one.
    """
    try:
        table = parquet.read_table(io.BytesIO(data), page_checksum_verification=True)
        return table.select(table.column_names)  # reads the names too, which may be damaged as well
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # pyarrow's own IO errors are OSErrors
        raise ShardError(
            f"{where} is not a sound parquet file ({_first_line(error)}); copy or build it again"
        ) from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _to_bytes(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
