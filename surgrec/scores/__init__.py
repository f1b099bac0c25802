"""Scores of predictions, their intervals over cases, and comparisons. No torch.

Each kind of prediction has a table of numbers per case, with `scores(weights)` for any resample of
cases: `CaseCounts` (one class), `frames.FrameTable` (phases over time), `multilabel.LabelSets`,
`triplets.TripletTable`, `regression.Numbers`.

Example:
    >>> counts = count_predictions(truth, predicted)
    >>> values = counts.scores(case_weights(truth.num_cases))["macro_f1"]
    >>> estimate(values, truth.num_cases)
    Estimate(value=0.71, low=0.62, high=0.79)
"""

from surgrec.scores.classification import (
    METRICS,
    PRIMARY,
    CaseCounts,
    GroundTruth,
    Metric,
    class_table,
    confusion_matrix,
    count_predictions,
    expected_counts,
)
from surgrec.scores.intervals import LEVEL, Estimate, case_weights, estimate
from surgrec.scores.paired import MIN_CASES, swap_test, verdict_of

__all__ = [
    "LEVEL",
    "METRICS",
    "MIN_CASES",
    "PRIMARY",
    "CaseCounts",
    "Estimate",
    "GroundTruth",
    "Metric",
    "case_weights",
    "class_table",
    "confusion_matrix",
    "count_predictions",
    "estimate",
    "expected_counts",
    "swap_test",
    "verdict_of",
]
