"""Scores of one class per window or frame, from counts per case.

Counts add up over cases, so that a resample of cases is a matrix product.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.scores._means import divided

Metric = Literal["macro_f1", "balanced_accuracy", "accuracy", "case_accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
"""All metrics, in the order of tables."""
PRIMARY: Metric = "macro_f1"
"""The metric of verdicts and of chosen settings; fixed before any result was known."""
NO_CLASS = -1
"""A prediction of no class, such as an answer that cannot be read. It is wrong."""


@dataclass(frozen=True, kw_only=True)
class GroundTruth:
    """The case and the label of each window to score, as indices."""

    case: Int64[np.ndarray, " n"]
    label: Int64[np.ndarray, " n"]
    num_cases: int
    """Each case has at least one window."""
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class CaseCounts:
    """Windows per case and class; expected numbers for a baseline that draws at random."""

    correct: Float64[np.ndarray, "cases classes"]
    """Windows of the class that were predicted as this class."""
    predicted: Float64[np.ndarray, "cases classes"]
    """Windows that were predicted as the class."""
    labeled: Float64[np.ndarray, "cases classes"]
    """Windows of the class."""

    @property
    def num_cases(self) -> int:
        """Number of cases."""
        return len(self.labeled)

    def beside(self, other: "CaseCounts") -> "CaseCounts":
        """Return the cases of both predictions, this one's first (see `swap_test`)."""
        return CaseCounts(
            correct=np.concatenate([self.correct, other.correct]),
            predicted=np.concatenate([self.predicted, other.predicted]),
            labeled=np.concatenate([self.labeled, other.labeled]),
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[Metric, Float64[np.ndarray, " r"]]:
        """Return the scores of each of `r` test sets.

        A mean over classes includes the classes with at least one window in that test set, the same
        for every classifier. An absent class has no recall, and costs nothing unless it is
        predicted: a prediction of an absent class is an error of the class that was present.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        correct, predicted, labeled = (
            weights @ table for table in (self.correct, self.predicted, self.labeled)
        )

        present = labeled > 0
        f1 = 2 * correct / np.where(present, predicted + labeled, 1)
        recall = correct / np.where(present, labeled, 1)
        case_accuracy = self.correct.sum(1) / self.labeled.sum(1)

        return {
            "macro_f1": np.where(present, f1, 0).sum(1) / present.sum(1),
            "balanced_accuracy": np.where(present, recall, 0).sum(1) / present.sum(1),
            "accuracy": correct.sum(1) / labeled.sum(1),
            "case_accuracy": weights @ case_accuracy / weights.sum(1),
        }


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """The pooled scores of one class; NaN for a class without a labeled window."""

    labeled: int
    """Windows of the class."""
    predicted: int
    """Windows that were predicted as the class."""
    precision: float
    """0 if the class is never predicted."""
    recall: float
    jaccard: float
    """Intersection over union of labeled and predicted windows."""
    f1: float


def count_predictions(truth: GroundTruth, predicted: Int64[np.ndarray, " n"]) -> CaseCounts:
    """Return the counts of one prediction per window; `NO_CLASS` is wrong and of no class."""
    correct = predicted == truth.label
    return CaseCounts(
        correct=_per_case(truth, truth.case[correct], truth.label[correct]),
        predicted=_per_case(truth, truth.case, predicted),
        labeled=_per_case(truth, truth.case, truth.label),
    )


def expected_counts(truth: GroundTruth, shares: Float64[np.ndarray, " classes"]) -> CaseCounts:
    """Return the expected counts of independent random predictions.

    Accuracies of these counts are the expected accuracies. Their F1 is the F1 of expected counts,
    to which the F1 of a draw converges with the number of windows.

    Args:
        truth: The windows.
        shares: Probability of predicting each class.
    """
    labeled = _per_case(truth, truth.case, truth.label)
    predicted = labeled.sum(1, keepdims=True) * shares
    return CaseCounts(correct=labeled * shares, predicted=predicted, labeled=labeled)


def scores_of_classes(
    correct: Float64[np.ndarray, " classes"],
    predicted: Float64[np.ndarray, " classes"],
    labeled: Float64[np.ndarray, " classes"],
) -> dict[str, Float64[np.ndarray, " classes"]]:
    """Return precision, recall, Jaccard and F1 of each class; NaN for absent classes.

    A class that is present and never predicted has precision 0.

    Args:
        correct: Windows of the class that were predicted as this class.
        predicted: Windows that were predicted as the class.
        labeled: Windows of the class.
    """
    precision = correct / np.where(predicted > 0, predicted, 1)
    return {
        "precision": np.where(labeled > 0, precision, np.nan),
        "recall": divided(correct, labeled),
        "jaccard": divided(correct, np.where(labeled > 0, labeled + predicted - correct, 0)),
        "f1": divided(2 * correct, np.where(labeled > 0, labeled + predicted, 0)),
    }


def class_table(counts: CaseCounts) -> list[ClassScores]:
    """Return the scores of each class, over the windows of all cases."""
    correct, predicted, labeled = (
        table.sum(0) for table in (counts.correct, counts.predicted, counts.labeled)
    )
    scores = scores_of_classes(correct, predicted, labeled)
    return [
        ClassScores(
            labeled=round(labeled[index]),
            predicted=round(predicted[index]),
            **{name: float(values[index]) for name, values in scores.items()},
        )
        for index in range(len(labeled))
    ]


def confusion_matrix(
    label: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], num_classes: int
) -> Int64[np.ndarray, "classes classes"]:
    """Return the number of windows of each label (row) that were predicted as each class.

    Windows with a prediction of `NO_CLASS` are in no column.
    """
    return _count_pairs(label, predicted, (num_classes, num_classes))


def _per_case(
    truth: GroundTruth, case: Int64[np.ndarray, " m"], label: Int64[np.ndarray, " m"]
) -> Float64[np.ndarray, "cases classes"]:
    """Count each pair of a case and a class."""
    return _count_pairs(case, label, (truth.num_cases, truth.num_classes)).astype(np.float64)


def _count_pairs(
    rows: Int64[np.ndarray, " m"], columns: Int64[np.ndarray, " m"], shape: tuple[int, int]
) -> Int64[np.ndarray, "rows columns"]:
    """Count each pair of a row and a column; `NO_CLASS` is no column."""
    rows, columns = rows[columns != NO_CLASS], columns[columns != NO_CLASS]
    cells = np.bincount(rows * shape[1] + columns, minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.int64)
