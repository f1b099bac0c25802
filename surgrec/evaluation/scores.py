"""Scores of predictions, made of counts per case so that resampling cases costs a matrix product."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

Metric = Literal["macro_f1", "balanced_accuracy", "accuracy", "case_accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
PRIMARY: Metric = "macro_f1"
"""What verdicts are about; fixed before any result was seen."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The test windows that predictions are compared with: a window's case and its label, as indices."""

    case: Int64[np.ndarray, " n"]
    label: Int64[np.ndarray, " n"]
    num_cases: int
    """Each has at least one window."""
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Windows per case and class; for a baseline that draws by chance, expected ones."""

    hits: Float64[np.ndarray, "cases classes"]
    """Windows of the class that were predicted as it."""
    predicted: Float64[np.ndarray, "cases classes"]
    """Windows that were predicted as the class."""
    labeled: Float64[np.ndarray, "cases classes"]
    """Windows of the class."""


def count(answers: Answers, predicted: Int64[np.ndarray, " n"]) -> Counts:
    """The counts of one prediction per window."""
    right = predicted == answers.label
    return Counts(
        hits=_table(answers, answers.case[right], answers.label[right]),
        predicted=_table(answers, answers.case, predicted),
        labeled=_table(answers, answers.case, answers.label),
    )


def expected_count(answers: Answers, share: Float64[np.ndarray, " classes"]) -> Counts:
    """The expected counts of predictions that are drawn independently, each class with its share.

    Accuracies of these counts are the expected accuracies; F1 is that of the expected counts, to which the F1 of a draw
    converges as windows grow in number.
    """
    labeled = _table(answers, answers.case, answers.label)
    return Counts(
        hits=labeled * share, predicted=labeled.sum(1, keepdims=True) * share, labeled=labeled
    )


def score(
    counts: Counts, weights: Float64[np.ndarray, "r cases"]
) -> dict[Metric, Float64[np.ndarray, " r"]]:
    """The scores of each of `r` test sets, in which a case stands as often as its weight says.

    A mean over classes is over those with at least one window in that test set, the same for every classifier: an absent
    class has no recall, and is not held against one that did not predict it. A prediction of an absent class is an error
    of the class that was there.
    """
    hits, predicted, labeled = (
        weights @ table for table in (counts.hits, counts.predicted, counts.labeled)
    )
    present = labeled > 0
    f1 = 2 * hits / np.where(present, predicted + labeled, 1)
    recall = hits / np.where(present, labeled, 1)
    case_accuracy = counts.hits.sum(1) / counts.labeled.sum(1)
    return {
        "macro_f1": np.where(present, f1, 0).sum(1) / present.sum(1),
        "balanced_accuracy": np.where(present, recall, 0).sum(1) / present.sum(1),
        "accuracy": hits.sum(1) / labeled.sum(1),
        "case_accuracy": weights @ case_accuracy / weights.sum(1),
    }


def _table(
    answers: Answers, case: Int64[np.ndarray, " m"], value: Int64[np.ndarray, " m"]
) -> Float64[np.ndarray, "cases classes"]:
    """How often each pair of a case and a class occurs."""
    cells = np.bincount(
        case * answers.num_classes + value, minlength=answers.num_cases * answers.num_classes
    )
    return cells.reshape(answers.num_cases, answers.num_classes).astype(np.float64)
