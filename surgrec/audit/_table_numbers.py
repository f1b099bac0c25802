"""The scores of a published table: its columns, and the numbers of its cells."""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from surgrec.audit._rows import plain
from surgrec.errors import ManifestError, cut
from surgrec.table_files import read_text
from surgrec.text import one_line

PublishedMetric = Literal["accuracy", "balanced_accuracy", "macro_f1"]
_SPELLINGS: Mapping[str, PublishedMetric] = {
    "accuracy": "accuracy", "acc": "accuracy", "acc1": "accuracy", "top1": "accuracy",
    "top1accuracy": "accuracy", "balancedaccuracy": "balanced_accuracy",
    "balancedacc": "balanced_accuracy", "macrorecall": "balanced_accuracy",
    "macrof1": "macro_f1", "f1macro": "macro_f1",
}  # fmt: skip
"""Names of metrics in small letters and digits."""
_SET_COLUMNS = ("dataset", "data", "set", "benchmark")
_NUMBER = re.compile(
    r"(?P<number>[0-9]{1,6}(\.(?P<decimals>[0-9]{1,12}))?)\s*(?P<percent>%?)"
    r"(?P<spread>\s*±\s*[0-9]{1,6}(\.[0-9]{1,12})?\s*%?)?"
)
_PLUS_MINUS = re.compile(r"\\pm(?![a-z])|\+/-|\+-")
_MARKS = re.compile(r"\\(textbf|mathbf|underline|emph)(?![a-z])|\\(?=%)|</?[bi]>|__|[*${}†‡]")
"""Marks of bold, underlined or annotated cells in Markdown, LaTeX and HTML."""
_SCORE_WORDS = frozenset({"accuracy", "acc", "f1", "recall", "precision", "score", "top"})
_COUNT_WORDS = frozenset(
    {"clips", "videos", "cases", "frames", "samples", "images", "params", "parameters", "epochs",
     "flops", "gflops", "tflops", "year", "seed", "seeds", "rank"}
)  # fmt: skip
"""Words in the name of a column of counts, unless it has a word of a score."""
_FIRST_COUNT_WORDS = frozenset({"n", "num", "number", "count"})
"""Words that begin the name of a column of counts."""
_NO_NUMBER = frozenset({"", "-", "–", "—", "n/a", "na", "nan"})
_MOST_SCORE = 100
_MOST_CELLS = 100_000


@dataclass(frozen=True, kw_only=True)
class Number:
    """A number of a table with the precision in which it is printed."""

    row: str
    column: str
    metric: PublishedMetric
    printed: str
    value: float
    decimals: int
    is_percent: bool
    is_mean: bool
    """Whether it has a spread, so that it is a mean of several runs."""

    def is_value(self, score: float, scale: int) -> bool:
        """Return whether a score, 0 to 1, is printed as this number. Either rounding of a half."""
        return abs(self.value - score * scale) <= 0.5 * 10.0**-self.decimals + 1e-9

    def is_fraction(self, total: int, scale: int) -> bool:
        """Return whether a whole number of `total` is printed as this number."""
        nearest = int(self.value / scale * total)
        return any(
            self.is_value(count / total, scale)
            for count in (nearest - 1, nearest, nearest + 1)
            if 0 <= count <= total
        )


@dataclass(frozen=True, kw_only=True)
class TableNumbers:
    """The scores of the rows about a set."""

    numbers: list[Number]
    unread: tuple[str, ...]
    """Cells that look like a number and are no score: row, column and text."""
    counts: tuple[str, ...]
    """Columns of counts, which are not read."""


def read_numbers(
    path: Path,
    names: set[str],
    metric: PublishedMetric,
    score_columns: Sequence[str],
    tell: Callable[[str], None],
) -> TableNumbers:
    """Read the scores of the rows about a set.

    Args:
        path: CSV table with a header.
        names: Names of the set.
        metric: Metric of the columns whose names say none.
        score_columns: Names of the columns of scores; empty: all of numbers except counts.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file cannot be read, or lacks a named column.
    """
    header, rows = _table(path, tell)
    layout = _layout(header, rows, score_columns, str(path))
    numbers, unread = _numbers(header, _rows_about(rows, layout, names), layout, metric)
    return TableNumbers(
        numbers=numbers,
        unread=tuple(unread),
        counts=tuple(one_line(header[at], 60) for at in layout.counts),
    )


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The columns of a table by their use, as indices."""

    sets: list[int]
    labels: list[int]
    scores: list[int]
    counts: list[int]


def _layout(
    header: Sequence[str], rows: Sequence[Sequence[str]], chosen: Sequence[str], path: str
) -> _Layout:
    """Return the use of each column; `chosen` are names of the columns of scores."""
    unknown = sorted(set(chosen) - set(header))
    if unknown:
        raise ManifestError(
            f"{path} has no column {cut(unknown[0])!r} (it has "
            f"{one_line(', '.join(header), 200)}); correct --score_columns"
        )

    others = [at for at, name in enumerate(header) if plain(name) not in _SET_COLUMNS]
    numeric = [at for at in others if any(_match(row[at]) for row in rows)]
    counts = [] if chosen else [at for at in numeric if _is_count(header[at])]
    scores = [at for at in numeric if at not in counts and (not chosen or header[at] in chosen)]
    return _Layout(
        sets=[at for at in range(len(header)) if at not in others],
        labels=[at for at in others if at not in numeric],
        scores=scores,
        counts=counts,
    )


def _is_count(column: str) -> bool:
    """Return whether a column has numbers of clips or the like, by its name."""
    words = re.findall("[a-z]+[0-9]*", column.lower())
    if _SCORE_WORDS & set(words) or not words:
        return False
    return bool(_COUNT_WORDS & set(words)) or words[0] in _FIRST_COUNT_WORDS or "#" in column


def _rows_about(
    rows: Sequence[Sequence[str]], layout: _Layout, names: set[str]
) -> list[Sequence[str]]:
    """Return the rows about a set of one of these names; all of them without a column of sets."""
    wanted = {plain(name) for name in names} - {""}
    return [row for row in rows if not layout.sets or plain(row[layout.sets[0]]) in wanted]


def _numbers(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    layout: _Layout,
    metric: PublishedMetric,
) -> tuple[list[Number], list[str]]:
    """Return the scores of rows, and the cells that look like a number and cannot be read."""
    numbers, unread = [], []
    for row in rows:
        words = [row[at] for at in [*layout.sets, *layout.labels]]
        name = one_line(" ".join(word for word in words if _has_letter(word)), 60)
        for at in layout.scores:
            match = _number(row[at])
            if match:
                numbers.append(_number_of(match, name, header[at], row[at], metric))
            elif row[at].lower() not in _NO_NUMBER:
                unread.append(f"{name}, {one_line(header[at], 60)}: {one_line(row[at], 60)}")

        # Cells of digits in a column of labels may be scores that cannot be read.
        unread += (
            f"{one_line(header[at], 60)}: {one_line(row[at], 60)}"
            for at in layout.labels
            if re.search("[0-9]", row[at]) and not _has_letter(row[at])
        )
    return numbers, unread


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))


def _number(text: str) -> re.Match[str] | None:
    """Return the number of a cell that may be a score; None: it is none."""
    match = _match(text)
    return match if match and float(match["number"]) <= _MOST_SCORE else None


def _match(text: str) -> re.Match[str] | None:
    """Return the number of a cell without the marks of bold text; None: a cell of another kind."""
    return _NUMBER.fullmatch(_MARKS.sub("", _PLUS_MINUS.sub("±", text)).strip())


def _number_of(
    match: re.Match[str], row: str, column: str, text: str, metric: PublishedMetric
) -> Number:
    return Number(
        row=row,
        column=one_line(column, 60),
        metric=_SPELLINGS.get(plain(column), metric),
        printed=one_line(text, 60),
        value=float(match["number"]),
        decimals=len(match["decimals"] or ""),
        is_percent=bool(match["percent"]) or "%" in column,
        is_mean=bool(match["spread"]),
    )


def _table(path: Path, tell: Callable[[str], None]) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table of any number of columns."""
    text = read_text(path, tell)

    # The delimiter is the most frequent one of the header.
    delimiter = max(",;\t", key=text.split("\n", 1)[0].count)
    try:
        lines = [
            [cell.strip() for cell in row]
            for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
            if row
        ]
    except csv.Error as error:
        raise ManifestError(f"{path}: invalid CSV ({error}); look for a stray quote") from None

    if len(lines) < 2:
        raise ManifestError(f"{path} has no row below its header; give a table of results")
    header, *rows = lines
    if len(header) * len(rows) > _MOST_CELLS:
        raise ManifestError(f"{path} has more than {_MOST_CELLS:,} cells; give a smaller table")

    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ManifestError(
                f"{path}, row {number} has {len(row)} cells ({cut(', '.join(row))}), but the "
                f"header has {len(header)}; add or remove cells"
            )
    return header, rows
