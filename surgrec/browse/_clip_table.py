"""The clips of a corpus as one table: filters, sorting and pages, on whole columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int64
from pyarrow import compute

from surgrec.browse._answers import NotFoundError
from surgrec.browse._filters import Filter, mask_of
from surgrec.errors import ConfigError
from surgrec.shards import Sample, Source

_MOST_ROWS = 200
"""Rows of a page."""
_MOST_VALUES = 300
"""Different values up to which a column's are listed."""
_UNIQUE = ("key", "sha256", "xxh3_64")
"""Columns with another value in each row."""
_SEARCHED = ("key", "case", "domain", "procedure")
"""Columns that the search looks into; a key begins with source and video."""
_CACHED_QUERIES = 16

Kind = Literal["text", "number"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """Facts about a column of all clips."""

    name: str
    kind: Kind
    values: list[str] = field(default_factory=list)
    """All texts of a column with few of them, sorted."""
    least: float | int | None = None
    most: float | int | None = None
    empty: int = 0
    """Rows without a value."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which clips are shown, and in which order."""

    search: str = ""
    """Part of a key, case, domain or procedure, in any case of letters."""
    filters: tuple[Filter, ...] = ()
    """Conditions that all hold."""
    sort: str = ""
    """Column that decides the order; empty: the order of the index."""
    descending: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """The clips that a query finds."""

    rows: Int64[np.ndarray, " n"]
    hours: float
    videos: int
    cases: int


class ClipTable:
    """The clips of all sources of a corpus, one below the other.

    The number of a clip is its row in this table. Columns that only some sources have are empty
    for the others; columns of lists are left out.

    Args:
        sources: The opened sources by name.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = list(sources.values())
        counts = [source.index.num_rows for source in self._sources]
        self._first = np.cumsum([0, *counts])
        tables = [source.index.table() for source in self._sources]
        self._table, self.left_out = _stacked(tables)
        self.names = list(self._table.column_names)
        self.num_rows = self._table.num_rows
        self._videos, self._cases = (self._codes(name) for name in ("video", "case"))
        self._found = lru_cache(maxsize=_CACHED_QUERIES)(self._find)

    def columns(self) -> list[Column]:
        """Return facts about each column. It reads all of them."""
        return [self._describe(name) for name in self.names]

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column, of texts or of numbers.

        Raises:
            ConfigError: There is none of this name.
        """
        if name not in self.names:
            raise ConfigError(
                f"the corpus has no column {name!r:.60}; use one of {', '.join(self.names)}"
            )
        return self._table.column(name)

    def find(self, query: Query) -> Found:
        """Return the clips that a query finds; the last queries are remembered.

        Raises:
            ConfigError: The query names a column that does not exist, or compares a text with a
                number.
        """
        return self._found(query)

    def cells(self, rows: Sequence[int] | Int64[np.ndarray, " n"]) -> list[list[Any]]:
        """Return all columns of some rows, one list for each row, in the order of `names`."""
        part = self._table.take(pa.array(rows, pa.int64()))
        columns = [part.column(name).to_pylist() for name in self.names]
        return [list(row) for row in zip(*columns, strict=True)]

    def page(self, query: Query, offset: int) -> dict[str, Any]:
        """Return up to 200 found clips as JSON, with the sums of all that were found."""
        found = self.find(query)
        rows = found.rows[offset : offset + _MOST_ROWS]
        return {
            "total": len(found.rows),
            "hours": found.hours,
            "videos": found.videos,
            "cases": found.cases,
            "offset": offset,
            "page": _MOST_ROWS,
            "numbers": rows.tolist(),
            "rows": self.cells(rows),
        }

    def locate(self, number: int) -> tuple[Source, int]:
        """Return the source of a clip and its row there.

        Raises:
            NotFoundError: There is no clip of this number.
        """
        if not 0 <= number < self.num_rows:
            raise NotFoundError(f"there is no clip {number}; the corpus has {self.num_rows}")
        place = int(np.searchsorted(self._first, number, side="right")) - 1
        return self._sources[place], number - int(self._first[place])

    def sample(self, number: int) -> tuple[Source, Sample]:
        """Return the source of a clip and its entry in the index there."""
        source, row = self.locate(number)
        return source, source.index.sample(row)

    def rows_equal(self, **values: str | int) -> Int64[np.ndarray, " n"]:
        """Return the clips with these values in these columns."""
        mask = np.ones(self.num_rows, dtype=bool)
        for name, value in values.items():
            equal = compute.equal(self.column(name), value).fill_null(False)
            mask &= equal.to_numpy()
        return np.flatnonzero(mask)

    def _find(self, query: Query) -> Found:
        mask = np.ones(self.num_rows, dtype=bool)
        for each in query.filters:
            mask &= mask_of(self.column(each.column), each)
        if query.search:
            mask &= self._search(query.search)

        rows = np.flatnonzero(mask)
        durations_s = self.column("duration_s").to_numpy()
        if query.sort:
            order = "descending" if query.descending else "ascending"
            keys = self.column(query.sort).take(pa.array(rows))
            places = compute.array_sort_indices(_one_array(keys), order=order)
            rows = rows[places.to_numpy()]
        return Found(
            rows=rows,
            hours=float(durations_s[rows].sum()) / 3600,
            videos=int(np.count_nonzero(np.bincount(self._videos[rows]))),
            cases=int(np.count_nonzero(np.bincount(self._cases[rows]))),
        )

    def _search(self, text: str) -> np.ndarray:
        mask = np.zeros(self.num_rows, dtype=bool)
        for name in _SEARCHED:
            found = compute.match_substring(self.column(name), text, ignore_case=True)
            mask |= found.to_numpy()
        return mask

    def _codes(self, name: str) -> Int64[np.ndarray, " n"]:
        """Return a number for the value of each row; sources share no values."""
        codes, first = [], 0
        for source in self._sources:
            encoded = source.index.column(name).dictionary_encode()
            codes.append(np.asarray(encoded.indices, dtype=np.int64) + first)
            first += len(encoded.dictionary)
        return np.concatenate(codes)

    def _describe(self, name: str) -> Column:
        column = self._table.column(name)
        if pa.types.is_string(column.type):
            values = [] if name in _UNIQUE else column.unique().to_pylist()
            few = len(values) <= _MOST_VALUES
            listed = sorted(filter(None, values)) if few else []
            return Column(name=name, kind="text", values=listed, empty=column.null_count)
        ends = compute.min_max(column).as_py()
        return Column(
            name=name,
            kind="number",
            least=ends["min"],
            most=ends["max"],
            empty=column.null_count,
        )


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _stacked(tables: Sequence[pa.Table]) -> tuple[pa.Table, list[str]]:
    """Return the tables below each other, and the names of the columns that are left out."""
    types: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for each in table.schema:
            types.setdefault(each.name, set()).add(each.type)

    left_out = sorted(
        name for name, found in types.items() if any(pa.types.is_nested(each) for each in found)
    )
    common = {name: _common(found) for name, found in types.items() if name not in left_out}
    parts = [
        pa.table(
            {
                name: table.column(name).cast(common[name])
                for name in table.column_names
                if name in common
            }
        )
        for table in tables
    ]
    return pa.concat_tables(parts, promote_options="default"), left_out


def _common(types: set[pa.DataType]) -> pa.DataType:
    """Return the type in which a column of several sources is shown."""
    if all(pa.types.is_integer(each) and each != pa.uint64() for each in types):
        return pa.int64()
    # Numbers of 64 bits are no numbers in a browser, which would round them.
    is_number = (
        pa.types.is_floating(each) or (pa.types.is_integer(each) and each != pa.uint64())
        for each in types
    )
    return pa.float64() if all(is_number) else pa.string()
