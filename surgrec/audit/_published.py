"""Cells of a published table that a constant predictor reaches, or that no count of clips gives."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.audit._clips import SplitClips, label_counts
from surgrec.audit._sizes import constant_scores
from surgrec.audit._table_numbers import Number, PublishedMetric, read_numbers
from surgrec.errors import ConfigError, ManifestError
from surgrec.text import counted

_SHOWN = 3
"""Examples in a sentence."""
_NEAR = 0.05
"""Share of n within which another number of clips is searched that gives all cells."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a published table."""

    row: str
    column: str
    metric: PublishedMetric
    printed: str
    constant: tuple[str, ...] = ()
    """Classes whose constant prediction gives this number."""
    fraction: bool | None = None
    """Whether a whole number of the n test clips gives it; None: not an accuracy, or any would."""


@dataclass(frozen=True, kw_only=True)
class TableAudit:
    """The cells of a published table that are about a split."""

    table: str
    split: str
    clips: int
    """Labeled test clips."""
    cells: tuple[Cell, ...]
    fitting_clips: tuple[int, ...]
    """Numbers of test clips near n for which every accuracy of the table is a fraction."""
    unread: tuple[str, ...] = ()
    """Cells about the split that have a digit and are no score: row, column and text."""
    skipped_columns: tuple[str, ...] = ()
    """Columns of counts, which are not read."""

    @property
    def remarks(self) -> list[str]:
        """The parts of the table that were not read, in words."""
        lines = []
        if self.unread:
            examples = ", ".join(self.unread[:_SHOWN])
            lines.append(f"{counted(len(self.unread), 'cell')} not read as a score: {examples}")
        if self.skipped_columns:
            names = ", ".join(self.skipped_columns[:_SHOWN])
            lines.append(
                f"{counted(len(self.skipped_columns), 'column')} of counts not read: {names}; "
                "--score_columns names columns to read"
            )
        return lines

    @property
    def constant(self) -> list[Cell]:
        """The cells that equal a constant predictor."""
        return [cell for cell in self.cells if cell.constant]

    @property
    def impossible(self) -> list[Cell]:
        """The accuracies that no number of correct test clips gives."""
        return [cell for cell in self.cells if cell.fraction is False]

    @property
    def sentences(self) -> list[str]:
        """The result in words."""
        cells = counted(len(self.cells), "cell")
        lines = []
        if self.constant:
            lines.append(
                f"{len(self.constant)} of {cells} equal a predictor of one class; one alone may be "
                "chance"
            )
        if self.impossible:
            others = ", ".join(map(str, self.fitting_clips[:5])) or "no number near it"
            lines.append(
                f"{len(self.impossible)} of {cells} are no fraction of {self.clips} test clips; "
                f"all accuracies are fractions of {others}"
            )
        return lines


def audit_table(
    path: Path,
    split: SplitClips,
    *,
    dataset: str = "",
    metric: PublishedMetric = "accuracy",
    score_columns: Sequence[str] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> TableAudit:
    """Compare a published table with the test part of a split.

    The table is CSV with a header. A column `dataset` names the set of a row, and only rows of this
    set are read. Columns with the name of a metric hold this metric; other columns of numbers hold
    `metric`, one method each. A number has as many decimals as are printed, and is a percentage if
    any number of the table is above 1 or has a percent sign. Marks of bold cells are ignored. A
    number with ± is a mean, and need not be a fraction of the test clips. Columns of counts, such
    as `n test clips`, are left out.

    Args:
        path: The table.
        split: The split with its test part.
        dataset: Name of the set in the table. Default: that of the split.
        metric: Metric of the other columns.
        score_columns: Names of the columns of scores. Default: all columns of numbers except
            counts.
        tell: Called with a sentence if the file is not UTF-8.

    Raises:
        ManifestError: The file cannot be read, or has no number about the split, or lacks a column.
        ConfigError: The split has no labeled test clip.
    """
    counts = label_counts(split.parts.get("test", ()))
    if not counts:
        raise ConfigError(f"split {split.name} has no test clip with a label; give labels")
    names = {dataset} if dataset else {split.dataset, split.name}
    table = read_numbers(path, names, metric, score_columns, tell)
    numbers = table.numbers
    if not numbers:
        raise ManifestError(
            f"{path} has no number about {dataset or split.dataset or split.name}; rename its rows "
            "as the set, or give --dataset"
        )

    # Percent or fraction is a property of the table, not of a cell.
    scale = 100 if any(number.value > 1 or number.is_percent for number in numbers) else 1
    constants = {
        label: constant_scores(counts, {label: 1.0}) for label, number in counts.items() if number
    }
    cells = tuple(_cell(number, scale, counts.total(), split, constants) for number in numbers)
    accuracies = [
        number for number in numbers if number.metric == "accuracy" and not number.is_mean
    ]
    return TableAudit(
        table=str(path),
        split=split.name,
        clips=counts.total(),
        cells=cells,
        fitting_clips=_fitting(accuracies, scale, counts.total()),
        unread=table.unread,
        skipped_columns=table.counts,
    )


def _cell(
    number: Number,
    scale: int,
    total: int,
    split: SplitClips,
    constants: Mapping[str, Mapping[str, float]],
) -> Cell:
    equal = [
        label
        for label, scores in constants.items()
        if number.is_value(scores[number.metric], scale)
    ]
    # If the printed steps are wider than 1/n, every number is a fraction.
    is_decidable = (
        number.metric == "accuracy"
        and not number.is_mean
        and 10.0**-number.decimals < scale / total
    )
    return Cell(
        row=number.row,
        column=number.column,
        metric=number.metric,
        printed=number.printed,
        constant=tuple(sorted(split.shown_label(label) for label in equal)),
        fraction=number.is_fraction(total, scale) if is_decidable else None,
    )


def _fitting(numbers: Sequence[Number], scale: int, total: int) -> tuple[int, ...]:
    """Return the numbers of clips near `total` that give all accuracies, the nearest first."""
    if not numbers:
        return ()
    reach = max(1, int(_NEAR * total))
    candidates = sorted(
        range(max(1, total - reach), total + reach + 1), key=lambda n: (abs(n - total), n)
    )
    return tuple(
        clips for clips in candidates if all(number.is_fraction(clips, scale) for number in numbers)
    )
