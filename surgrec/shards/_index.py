"""Parquet tables of a source: the index, the labels by video time, and the dropped segments."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from pyarrow import compute

from surgrec.errors import ShardError
from surgrec.parquet import first_line, parquet_bytes, read_parquet, row_groups, row_schema
from surgrec.shards._cells import cell_reader, optional_reader
from surgrec.shards.check_index import text_buffers
from surgrec.shards.layout import (
    CLIP_FIELDS,
    DUPLICATE_GROUP,
    LOCATION_FIELDS,
    OPTIONAL_FIELDS,
    SCORE,
    Clip,
    Sample,
)


@dataclass(frozen=True, kw_only=True)
class VideoLabel:
    """One row of `labels.parquet`: a label by the time of its video, seconds."""

    video: str
    case: str
    split: str
    task: str
    start_s: float
    end_s: float
    value: str


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """One row of `dropped.parquet`: a time segment of a video, seconds, and why it was dropped."""

    video: str
    start_s: float
    end_s: float
    reason: str
    """One word."""


_OWN_FIELDS = (*LOCATION_FIELDS, *OPTIONAL_FIELDS)
_CLIP = ("key", "sha256")
"""Columns that name a clip in all packings of a source."""

RowType = TypeVar("RowType", VideoLabel, Dropped)

_DIGESTED_ROWS = 1 << 17
"""Rows whose keys and digests are copied at once for a digest of clips."""

_INDEX_SCHEMA = pa.schema(
    [*row_schema(Sample, skip=("clip", *OPTIONAL_FIELDS)), *row_schema(Clip, skip=(SCORE,))]
)
_OPTIONAL_SCHEMA = pa.schema(
    [("xxh3_64", pa.uint64()), ("timescale", pa.int64()), ("frame_ticks", pa.int64())]
)
_SCORE_SCHEMA = pa.schema([(SCORE, pa.float64())])


class SourceIndex:
    """The rows of one source as Arrow columns.

    They are compact, shared with forked workers, and read one row at a time.

    Args:
        table: All columns of the format, and any further ones.
        context: Address of the index, for messages.
        keys_digest: SHA-256 of all keys, if it is already known.

    Raises:
        ShardError: A column of the format is missing, of another type, or has empty cells. Only
            `OPTIONAL_FIELDS` may be missing, or have some.
    """

    def __init__(self, table: pa.Table, context: str, *, keys_digest: bytes | None = None) -> None:
        self.has_scores = SCORE in table.column_names
        """Whether the corpus was built with a model that scores pictures."""
        schema = pa.schema([*_INDEX_SCHEMA, *(_SCORE_SCHEMA if self.has_scores else ())])
        clock_columns = {"timescale", "frame_ticks"} & {*table.column_names}
        if len(clock_columns) == 1:
            raise ShardError(
                f"{context} has only one of the columns timescale and frame_ticks; copy it again, "
                "or remove both"
            )
        self.has_clocks = bool(clock_columns)
        """Whether it has the columns that state the times of frames; cells may be empty."""
        optional = pa.schema([each for each in _OPTIONAL_SCHEMA if each.name in table.column_names])
        parts = (
            _with_schema(table, schema, context),
            _cast(table, optional, context),
            table.drop_columns([*schema.names, *optional.names]),
        )

        self._context = context
        self._columns = {
            name: _as_one_array(part.column(name)) for part in parts for name in part.column_names
        }
        self._cells = {name: cell_reader(self._columns[name]) for name in schema.names}
        self._cells |= {name: optional_reader(self._columns.get(name)) for name in OPTIONAL_FIELDS}
        self._clip_fields = (*CLIP_FIELDS, SCORE) if self.has_scores else CLIP_FIELDS

        self.num_rows = int(table.num_rows)
        self.reopen: Callable[[], SourceIndex] | None = None
        """Opens the index again, in any process; None if it is not a file of a corpus."""

        self.keys_digest = keys_digest or _digest_of_texts(self._columns["key"])
        """SHA-256 of all keys, in the order of the rows."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how to open the index, not its rows: each process would get a copy of them."""
        if self.reopen is None:
            return _from_rows, (self.table(), self._context, self.keys_digest)
        return _opened_again, (self.reopen, self._places_digest(), self._context)

    def table(self) -> pa.Table:
        """Return all columns, including those beyond the format."""
        return pa.table(self._columns)

    def sample(self, row: int) -> Sample:
        """Return the sample of one row, in 30 us (`benchmarks/index.py`)."""
        cells = self._cells
        clip = Clip(**{name: cells[name](row) for name in self._clip_fields})
        return Sample(clip=clip, **{name: cells[name](row) for name in _OWN_FIELDS})

    def key(self, row: int) -> str:
        """Return the key of one row."""
        return str(self._cells["key"](row))

    def column(self, name: str) -> Any:
        """Return one column as an Arrow array."""
        return self._columns[name]

    def further_columns(self) -> pa.Table:
        """Return the columns beyond the format, and those that name a clip: key and sha256."""
        known = {*_INDEX_SCHEMA.names, *OPTIONAL_FIELDS, SCORE} - set(_CLIP)
        return pa.table({name: self._columns[name] for name in self._columns if name not in known})

    def rows_digest(self, rows: Int64[np.ndarray, " n"]) -> str:
        """Return the digest of these rows and their order, and of all keys of the index."""
        return hashlib.sha256(self.keys_digest + rows.tobytes()).hexdigest()

    def clips_digest(self, rows: Int64[np.ndarray, " n"]) -> str:
        """Return the digest of the keys and SHA-256 of these rows, in their order.

        The other rows of the index do not matter. A million rows take 0.4 s.
        """
        digest = hashlib.sha256()
        for start in range(0, len(rows), _DIGESTED_ROWS):
            part = pa.array(rows[start : start + _DIGESTED_ROWS])
            for column in ("key", "sha256"):
                digest.update(_digest_of_texts(self._columns[column].take(part)))
        return digest.hexdigest()

    def columns_digest(self, columns: Sequence[str], rows: Int64[np.ndarray, " n"]) -> str:
        """Return the digest of the values of columns of numbers or texts in these rows."""
        digest = hashlib.sha256()
        for column in columns:
            values = self._columns[column]
            if not pa.types.is_string(values.type):
                digest.update(values.to_numpy()[rows].tobytes())
                continue
            for start in range(0, len(rows), _DIGESTED_ROWS):
                part = pa.array(rows[start : start + _DIGESTED_ROWS])
                digest.update(_digest_of_texts(values.take(part)))
        return digest.hexdigest()

    def groups_of_rows(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return the duplicate groups of rows; 0: no copy.

        Raises:
            ShardError: The corpus was never searched, or clips were added after the search.
        """
        if DUPLICATE_GROUP not in self._columns:
            raise ShardError(
                f"{self._context} has no column {DUPLICATE_GROUP}, but the mixture has duplicates: "
                "one; run `surgrec-shard dedup CORPUS --write true` first, or draw all duplicates"
            )
        column = self._group_column().take(pa.array(rows))
        if column.null_count:
            raise ShardError(
                f"{column.null_count} of {len(rows)} clips in {self._context} were added after the "
                "last search for copies, but the mixture has duplicates: one; run `surgrec-shard "
                "dedup CORPUS --write true` again, or draw all duplicates"
            )
        return np.asarray(column.to_numpy(), dtype=np.int64)

    def groups_by_video(self) -> dict[str, tuple[int, ...]]:
        """Return the duplicate groups of the clips of each video, of those that have copies.

        A video is left out if one of its clips was never compared.

        Raises:
            ShardError: The column has no whole numbers.
        """
        if DUPLICATE_GROUP not in self._columns:
            return {}
        groups: dict[str, list[int]] = {}
        unknown = set()
        cells = (self._columns["video"].to_pylist(), self._group_column().to_pylist())
        for video, group in zip(*cells, strict=True):
            found = groups.setdefault(video, [])
            if group is None:
                unknown.add(video)
            elif group:
                found.append(group)
        return {video: tuple(found) for video, found in groups.items() if video not in unknown}

    def rows(
        self,
        *,
        splits: Sequence[str],
        min_duration_s: float = 0.0,
        limits: Mapping[str, tuple[float, float]] | None = None,
    ) -> Int64[np.ndarray, " n"]:
        """Return the rows that fit, ascending.

        Args:
            splits: Their stored splits.
            min_duration_s: Shortest clip, seconds.
            limits: Smallest and largest value by numeric column.

        Raises:
            ShardError: A column of `limits` is missing, not numeric, or has empty cells.
        """
        split = compute.is_in(self._columns["split"], value_set=pa.array(list(splits), pa.string()))
        fits = split.to_numpy(zero_copy_only=False)
        fits &= self._columns["duration_s"].to_numpy() >= min_duration_s - 1e-6
        for column, (smallest, largest) in (limits or {}).items():
            values = self._numbers(column)
            fits &= (values >= smallest) & (values <= largest)
        return np.flatnonzero(fits).astype(np.int64)

    def partition(
        self, rows: Int64[np.ndarray, " n"], columns: Sequence[str]
    ) -> list[tuple[dict[str, str], Int64[np.ndarray, " _"]]]:
        """Divide rows by their values in some columns.

        Args:
            rows: Rows of the index.
            columns: Names of the columns; without any, all rows form one part.

        Returns:
            Each combination of values with its rows, which keep their order.

        Raises:
            ShardError: A column is missing, or a row has no value in it.
        """
        if not columns or not len(rows):
            return [({}, rows)]

        # Number the combinations that occur, column by column, so that no number overflows.
        part_of_row = np.zeros(len(rows), dtype=np.int64)
        combinations: list[dict[str, str]] = [{}]
        for column in columns:
            codes, names = self._codes(column, rows)
            found, part_of_row = _numbered(part_of_row * len(names) + codes)
            combinations = [
                {**combinations[number // len(names)], column: names[number % len(names)]}
                for number in found.tolist()
            ]

        # Sort rows by combination, and cut between combinations. Short numbers are sorted faster.
        ends = np.cumsum(np.bincount(part_of_row))[:-1]
        short = part_of_row.astype(np.min_scalar_type(len(combinations)))
        parts = np.split(rows[np.argsort(short, kind="stable")], ends)
        return list(zip(combinations, parts, strict=True))

    def _places_digest(self) -> str:
        """Return a digest of all keys, and of the places and sizes of their clips."""
        digest = hashlib.sha256(self.keys_digest)
        for name in ("mp4_offset", "mp4_size"):
            digest.update(self._columns[name].to_numpy())
        return digest.hexdigest()

    def _group_column(self) -> Any:
        column = self._columns[DUPLICATE_GROUP]
        if not pa.types.is_integer(column.type):
            raise ShardError(
                f"the column {DUPLICATE_GROUP} of {self._context} has no whole numbers; remove the "
                "column, and run `surgrec-shard dedup CORPUS --write true`"
            )
        return column

    def _codes(
        self, column: str, rows: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], list[str]]:
        """Return the number of the value of each row, and all values by their numbers."""
        values = self._full_column(column, "by which a level divides samples")
        # Ten million whole numbers as text would take a second: only their names become text.
        if not pa.types.is_integer(values.type):
            values = values.cast(pa.string())
        encoded = compute.dictionary_encode(values.take(pa.array(rows)))
        codes = np.asarray(encoded.indices).astype(np.int64)
        return codes, encoded.dictionary.cast(pa.string()).to_pylist()

    def _numbers(self, column: str) -> Any:
        values = self._full_column(column, "which the mixture limits")
        if not pa.types.is_integer(values.type) and not pa.types.is_floating(values.type):
            raise ShardError(
                f"the column {column} of {self._context} has no numbers; limit another column, or "
                "use it as a level"
            )
        return values.to_numpy()

    def _full_column(self, column: str, use: str) -> Any:
        """Return a column without empty cells."""
        if column not in self._columns:
            raise ShardError(
                f"{self._context} has no column {column!r}, {use}; "
                f"use one of {', '.join(sorted(self._columns))}"
            )
        if self._columns[column].null_count:
            raise ShardError(
                f"{self._context} has rows without {column}, {use}; "
                "fill the column, or use another one"
            )
        return self._columns[column]


def _numbered(
    values: Int64[np.ndarray, " n"],
) -> tuple[Int64[np.ndarray, " _"], Int64[np.ndarray, " n"]]:
    """Return the different values, ascending, and the place of each value among them.

    It is `np.unique` in linear time.
    """
    encoded = pa.array(values).dictionary_encode()
    found = encoded.dictionary.to_numpy()
    order = np.argsort(found)
    place = np.empty(len(found), dtype=np.int64)
    place[order] = np.arange(len(found))
    return found[order], place[np.asarray(encoded.indices)]


def _from_rows(table: pa.Table, context: str, keys_digest: bytes) -> SourceIndex:
    return SourceIndex(table, context, keys_digest=keys_digest)


def _opened_again(
    reopen: Callable[[], SourceIndex], places_digest: str, context: str
) -> SourceIndex:
    """Open an index in another process.

    Raises:
        ShardError: The index was replaced since the first process opened it.
    """
    index = reopen()
    if index._places_digest() != places_digest:
        raise ShardError(
            f"{context} was replaced after the process that sent it here had opened it; open the "
            "corpus again there"
        )
    return index


def index_tables(
    parts: Iterable[Sequence[Sample]], further: pa.Table | None = None
) -> Iterator[pa.Table]:
    """Yield the row groups of `index.parquet`, whose rows are sorted by shard and offset.

    Args:
        parts: Samples of the source, in any order within a part. All shards of a part sort behind
            those of the parts before it.
        further: As in `with_further_columns`.

    Raises:
        ShardError: The parts are not in order, or only some clips have a score of a model.
    """
    for table in row_groups(_sorted_parts(parts)):
        yield table if further is None else with_further_columns(table, further)


def _sorted_parts(parts: Iterable[Sequence[Sample]]) -> Iterator[pa.Table]:
    """Yield a table of each part with samples; an empty one if none has any."""
    before: Sample | None = None
    for part in filter(None, parts):
        ordered = sorted(part, key=lambda sample: (sample.shard, sample.offset))
        first = before or ordered[0]
        if before is not None and ordered[0].shard <= before.shard:
            raise ShardError(
                f"the samples of {ordered[0].shard} come after those of {before.shard}; give the "
                "parts of a source in the order of their shards"
            )
        before = ordered[-1]
        yield _table_of(ordered, has_scores=first.clip.model_score is not None)
    if before is None:
        yield _table_of([], has_scores=False)


def _table_of(ordered: Sequence[Sample], *, has_scores: bool) -> pa.Table:
    columns = {name: [getattr(each, name) for each in ordered] for name in LOCATION_FIELDS}
    columns |= {name: [getattr(each.clip, name) for each in ordered] for name in CLIP_FIELDS}
    table = pa.Table.from_pydict(columns, schema=_INDEX_SCHEMA)

    scores = [each.clip.model_score for each in ordered]
    if any((score is not None) != has_scores for score in scores):
        raise ShardError(
            f"only some clips of {ordered[0].clip.source} have a {SCORE}; build the source again "
            "with the same settings"
        )
    if has_scores:
        table = table.append_column(SCORE, pa.array(scores, pa.float64()))
    for field in _OPTIONAL_SCHEMA:
        cells = pa.array([getattr(each, field.name) for each in ordered], field.type)
        table = table.append_column(field, cells)
    return table


def with_further_columns(table: pa.Table, further: pa.Table) -> pa.Table:
    """Return an index with further columns, in place of those of the same names.

    Args:
        table: The index.
        further: Columns `key` and `sha256`, which name the clips, each once, and the new ones. A
            clip that it lacks gets empty cells.
    """
    names = [name for name in further.column_names if name not in _CLIP]
    if not names:
        return table

    # The row of each clip in the further columns: of the same key, if the content is the same.
    rows = compute.index_in(_one_array(table, "key"), value_set=_one_array(further, "key"))
    contents = _one_array(further, "sha256").take(rows)
    is_same = compute.equal(contents, _one_array(table, "sha256")).fill_null(False)
    rows = compute.if_else(is_same, rows, None)

    for name in names:
        column = _one_array(further, name).take(rows)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, column)
        else:
            table = table.append_column(name, column)
    return table


def _one_array(table: pa.Table, name: str) -> Any:
    return _as_one_array(table.column(name))


def rows_to_parquet(row_type: type[RowType], rows: Sequence[RowType]) -> bytes:
    """Return `labels.parquet` or `dropped.parquet`, sorted by its columns from left to right."""
    schema = row_schema(row_type)
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    table = pa.Table.from_pydict(columns, schema=schema)
    return parquet_bytes(table.sort_by([(name, "ascending") for name in schema.names]))


def rows_from_parquet(row_type: type[RowType], data: bytes, context: str) -> list[RowType]:
    """Return the rows of `labels.parquet` or `dropped.parquet`.

    Args:
        row_type: Type of a row.
        data: All bytes of the file.
        context: Address of the file, for messages.

    Raises:
        ShardError: The bytes are not a valid parquet file, or a column is missing or of another
            type.
    """
    table = _with_schema(read_parquet(data, context), row_schema(row_type), context)
    return [row_type(**row) for row in table.to_pylist()]


def _with_schema(table: pa.Table, schema: pa.Schema, context: str) -> pa.Table:
    """Return the columns of a schema, cast to its types. Refuse empty cells."""
    missing = [column for column in schema.names if column not in table.column_names]
    if missing:
        raise ShardError(
            f"{context} has no column {', '.join(missing)}; copy it again, or build the corpus "
            "again"
        )

    table = _cast(table, schema, context)
    incomplete = [name for name in schema.names if table.column(name).null_count]
    if incomplete:
        raise ShardError(
            f"{context} has rows without {', '.join(incomplete)}; build the corpus again"
        )
    return table


def _cast(table: pa.Table, schema: pa.Schema, context: str) -> pa.Table:
    """Return the columns of a schema, cast to its types.

    Other writers may use wider types, such as large strings.
    """
    try:
        return table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise ShardError(
            f"{context} has a column of a wrong type ({first_line(error)}); build the corpus again"
        ) from None


def _as_one_array(column: pa.ChunkedArray) -> Any:
    """Return a column as one array. A column of one chunk is not copied."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _digest_of_texts(texts: pa.StringArray) -> bytes:
    """Return the SHA-256 over the lengths of all texts, then over their bytes."""
    ends, letters = text_buffers(texts)
    digest = hashlib.sha256(np.diff(ends).tobytes())
    digest.update(letters[ends[0] : ends[-1]].data)
    return digest.digest()
