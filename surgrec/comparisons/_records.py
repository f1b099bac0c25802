"""The records of a comparison: rows of scores, pairs, data sets, standings."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from surgrec.comparisons._kinds import Kind, Scored
from surgrec.comparisons._methods import Group, Method
from surgrec.comparisons._predictions import Predicted, Windows
from surgrec.comparisons._results import Result
from surgrec.scores import CaseCounts, Estimate
from surgrec.scores.folds import FoldTables
from surgrec.scores.frames import FrameTable
from surgrec.scores.multilabel import CasePrecision, LabelSets
from surgrec.scores.paired import CaseTable, CaseWins, Verdict
from surgrec.scores.regression import Numbers
from surgrec.scores.units import Units
from surgrec.text import counted

BASELINE = "none"
"""Features of a baseline without any."""
PIXELS = "pixels"
"""Features of the baseline of pixels."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The scores of one classifier on one data set."""

    method: str
    """Name of the method; empty for a baseline without features."""
    features: str
    """`trained`, `random`, `pixels` or `none`."""
    classifier: str
    compared_as: str
    """Classifier of the rows that it is compared with. The answers of a model are compared with the
    primary classifier of encoders."""
    seeds: int
    degenerate: bool
    """A seed predicts the same for all windows."""
    metrics: dict[str, Estimate]
    with_seeds: dict[str, Estimate]
    """The metrics, with intervals over cases and pretraining seeds; NaN bounds for one seed."""
    seed_spread: float
    """Standard deviation of the primary metric over seeds; NaN for one seed."""
    case_spread: float
    """Standard deviation of the primary metric over cases."""
    primary: str
    """The primary metric."""
    tables: list[CaseTable]
    """Numbers per case of each seed."""
    predicted: list[Predicted]
    """Predictions of each seed; none for the class prior."""

    @property
    def value(self) -> float:
        """The primary score; NaN if the row is degenerate, so that means leave it out."""
        return float("nan") if self.degenerate else self.metrics[self.primary].value

    def mean_counts(self) -> CaseCounts:
        """Return the counts of one class per window, in the mean over seeds."""
        counts = [each for table in self.tables if (each := class_counts(table)) is not None]
        return CaseCounts(
            correct=np.mean([each.correct for each in counts], axis=0),
            predicted=np.mean([each.predicted for each in counts], axis=0),
            labeled=counts[0].labeled,
        )

    def primary_scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> Float64[np.ndarray, "seeds r"]:
        """Return the primary score of each seed on each test set."""
        return np.stack([paired_table(each).scores(weights)[self.primary] for each in self.tables])

    def case_values(self) -> Float64[np.ndarray, " cases"]:
        """Return the value of each case (see `case_scores`), in the mean over seeds."""
        values = [case_scores(each, self.primary) for each in self.tables]
        return np.asarray(np.mean(values, axis=0))


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two methods on the same cases."""

    data_set: str
    classifier: str
    first: str
    second: str
    difference: Estimate
    """Score of the first minus that of the second, in the primary metric."""
    with_seeds: Estimate
    """The difference, with its interval over cases and seeds; NaN bounds if one has one seed."""
    p_value: float
    corrected: float
    """P-value corrected for all pairs and data sets of the classifier (Holm)."""
    wins: CaseWins
    verdict: Verdict
    """Of the first method."""
    case_differences: Float64[np.ndarray, " cases"]


@dataclass(frozen=True, kw_only=True)
class CenterPair:
    """Two methods on the cases of one center, by the primary classifier."""

    center: str
    """Number of the center, from 1, as in the names of cases; `2.1` is the first center of the
    second joined result."""
    first: str
    second: str
    size: str
    """Cases and patients in text."""
    num_units: int
    """Patients of the center if they are known, else its cases."""
    difference: Estimate
    with_seeds: Estimate
    """As in `Pair`."""
    p_value: float
    corrected: float
    """P-value corrected for the pairs and centers of the data set (Holm)."""
    wins: CaseWins
    verdict: Verdict
    """Of the first method, in this center."""


@dataclass(frozen=True, kw_only=True)
class Compared:
    """All methods on the cases of one task, by one primary classifier."""

    name: str
    groups: list[Group]
    """The results of all methods, on one split or on several folds."""
    kind: Kind
    units: Units
    """Independent units of the cases; test sets are drawn from them."""
    cases: list[str]
    primary: str
    """The classifier whose verdict counts."""
    rows: list[Row]
    pairs: list[Pair]
    """Empty for a fold: the folds of a task are compared together."""
    num_windows: int

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.groups[0].task

    @property
    def split(self) -> str:
        """Name of the split, or those of the folds."""
        return " + ".join(group.split for group in self.groups)

    @property
    def results(self) -> list[Result]:
        """The results of all methods."""
        return [each for group in self.groups for seeds in group.results.values() for each in seeds]

    def results_of(self, method: str) -> list[Result]:
        """Return the results of a method; a baseline has none."""
        return [each for group in self.groups for each in group.results.get(method, [])]

    @property
    def size(self) -> str:
        """Cases and units in text: `48 cases of 12 patients`."""
        is_grouped = self.units.number < len(self.cases)
        of_units = f" of {self.units.number} {self.units.name}" if is_grouped else ""
        return counted(len(self.cases), "case") + of_units

    def text_of(self, classifier: str) -> str:
        """Return the name of a classifier in text."""
        known = [each for each in self.results if classifier in each.names]
        return (known or self.results)[0].text_of(classifier)

    @property
    def primary_rows(self) -> list[Row]:
        """The rows of trained features that are compared by the primary classifier."""
        wanted = ("trained", self.primary)
        return [row for row in self.rows if (row.features, row.compared_as) == wanted]

    @property
    def primary_pairs(self) -> list[Pair]:
        """The pairs by the primary classifier, whose verdicts count."""
        return [pair for pair in self.pairs if pair.classifier == self.primary]

    def row(self, method: str, classifier: str) -> Row | None:
        """Return the row of trained features that is compared by a classifier."""
        found = (method, "trained", classifier)
        rows = [row for row in self.rows if (row.method, row.features, row.compared_as) == found]
        return rows[0] if rows else None


@dataclass(frozen=True, kw_only=True)
class FoldMean(Compared):
    """All methods on the folds of a task: each score is the mean over the folds."""


@dataclass(frozen=True, kw_only=True)
class DataSet(Compared):
    """All methods on one task and split."""

    scored: Scored
    windows: Windows
    classes: list[str]
    center_pairs: list[CenterPair]
    """The same within each center; empty if centers are unknown or there is only one."""
    center_of: dict[str, str]
    """Center of each case (`CenterPair.center`), also of those of which no window is left; empty if
    centers are unknown."""

    @property
    def group(self) -> Group:
        """The results of all methods."""
        return self.groups[0]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A method over all data sets that every method has without a degenerate row."""

    method: str
    data_sets: int
    mean: float
    rank: float
    """Mean rank, 1 for the best."""
    better: int
    """Verdicts for the method, over all data sets."""
    worse: int


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the pages and tables show."""

    methods: list[Method]
    data_sets: list[DataSet]
    folds: list[FoldMean]
    """The tasks whose splits are folds."""
    standings: dict[str, list[Standing]]
    """By classifier; the primary one first."""
    left_out: list[str]
    """Sentences about rows that no mean includes, and about windows that not all results have."""
    overrides: list[str]
    """Findings of audits that only an option allowed."""

    @property
    def counted(self) -> list[Compared]:
        """Data sets that count in ranks and verdicts: means over folds, and all others."""
        return counted_once(self.data_sets, self.folds)

    def text_of(self, classifier: str) -> str:
        """Return the name of a classifier in text, from the first data set that has it."""
        texts = [each.text_of(classifier) for each in self.data_sets]
        plain = classifier.replace("_", " ")
        return next((each for each in texts if each != plain), plain)


def counted_once(data_sets: Sequence[DataSet], folds: Sequence[FoldMean]) -> list[Compared]:
    """Return the means over folds in place of their folds, and the other data sets."""
    in_folds = {id(group) for each in folds for group in each.groups}
    return [*folds, *(each for each in data_sets if id(each.group) not in in_folds)]


def paired_table(table: CaseTable) -> CaseTable:
    """Return a table that is quick to exchange, with the primary metric."""
    if isinstance(table, FoldTables):
        return replace(table, tables=tuple(paired_table(each) for each in table.tables))
    if isinstance(table, LabelSets):
        return CasePrecision(by_case=table.case_precision)
    return table.counts if isinstance(table, FrameTable) else table


def case_scores(table: CaseTable, primary: str) -> Float64[np.ndarray, " cases"]:
    """Return the primary score within each case.

    A rank correlation within one case is undefined, so a case of numbers has minus its absolute
    error (`Kind.case_value`).
    """
    if isinstance(table, FoldTables):
        return np.concatenate([case_scores(each, primary) for each in table.tables])
    alone = np.eye(table.num_cases)
    if isinstance(table, Numbers):
        return np.asarray(-table.scores(alone)["mae"])
    return np.asarray(paired_table(table).scores(alone)[primary])


def class_counts(table: CaseTable) -> CaseCounts | None:
    """Return the counts of one class per window or second; None for other kinds."""
    if isinstance(table, FrameTable):
        return table.counts
    return table if isinstance(table, CaseCounts) else None
