"""Scores of several labels at a time: average precision over windows, per class and in the mean."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.scores._means import divided, mean_over_columns, mean_over_rows

_MOST_CELLS = 4_000_000
"""Numbers of one array of counts at thresholds."""


@dataclass(frozen=True, kw_only=True)
class LabelSets:
    """The labels and the scored predictions of windows that may have several labels."""

    case: Int64[np.ndarray, " n"]
    """Case of each window."""
    label: Bool[np.ndarray, "n classes"]
    score: Float64[np.ndarray, "n classes"]
    """Higher for a more likely label."""
    num_cases: int

    def beside(self, other: "LabelSets") -> "LabelSets":
        """Return the cases of both predictions, this one's first (see `swap_test`)."""
        return LabelSets(
            case=np.concatenate([self.case, other.case + self.num_cases]),
            label=np.concatenate([self.label, other.label]),
            score=np.concatenate([self.score, other.score]),
            num_cases=self.num_cases + other.num_cases,
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return the scores of each of `r` test sets.

        `map`: the mean over classes of the average precision over all windows. `case_map`: the
        average precision within each case, its mean over the cases that have the class, then over
        classes. A class without a window of it has no average precision, and is left out.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        return {
            "map": mean_over_columns(self.class_precision(weights)),
            "case_map": mean_over_columns(mean_over_rows(self.case_precision, weights)),
        }

    def class_precision(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> Float64[np.ndarray, "r classes"]:
        """Return the average precision of each class in each test set; NaN for absent classes.

        The definition is scikit-learn's: the sum over thresholds of the precision times the
        increase of recall, without interpolation. Equal scores are one threshold.

        Args:
            weights: Multiplicity of each case in each test set.
        """
        columns = zip(self.label.T, self.score.T, strict=True)
        return np.stack([self._precision(*column, weights) for column in columns], axis=1)

    @cached_property
    def case_precision(self) -> Float64[np.ndarray, "cases classes"]:
        """Average precision of each class within each case; NaN where a case lacks the class."""
        rows_of = [self.case == case for case in range(self.num_cases)]
        cases = [
            LabelSets(
                case=np.zeros(int(rows.sum()), dtype=np.int64),
                label=self.label[rows],
                score=self.score[rows],
                num_cases=1,
            )
            for rows in rows_of
        ]
        return np.concatenate([case.class_precision(np.ones((1, 1))) for case in cases])

    def _precision(
        self,
        label: Bool[np.ndarray, " n"],
        score: Float64[np.ndarray, " n"],
        weights: Float64[np.ndarray, "r cases"],
    ) -> Float64[np.ndarray, " r"]:
        """Return the average precision of one class in each test set.

        Recall increases at the scores of positives alone. Counts per case at these thresholds
        make a test set a matrix product, whatever its number of windows.
        """
        thresholds = np.unique(score[label])[::-1]
        positives = np.bincount(self.case[label], minlength=self.num_cases)
        summed = np.zeros(len(weights))
        step = max(1, _MOST_CELLS // max(len(weights), self.num_cases))

        for first in range(0, len(thresholds), step):
            block = thresholds[first : first + step]
            at = label & (score <= block[0]) & (score >= block[-1])
            gained = weights @ self._bins(at, score, block)
            positive, selected = (
                weights @ self._bins(rows, score, block).cumsum(1)
                for rows in (label, np.ones_like(label))
            )
            summed += (gained * positive / np.where(selected > 0, selected, 1)).sum(1)
        return np.asarray(divided(summed, weights @ positives))

    def _bins(
        self,
        rows: Bool[np.ndarray, " n"],
        score: Float64[np.ndarray, " n"],
        thresholds: Float64[np.ndarray, " t"],
    ) -> Float64[np.ndarray, "cases t"]:
        """Count the rows of each case by the first of descending thresholds that they reach."""
        reached = np.searchsorted(-thresholds, -score[rows], side="left")
        width = len(thresholds) + 1  # the last bin reaches none
        cells = np.bincount(self.case[rows] * width + reached, minlength=self.num_cases * width)
        return cells.reshape(self.num_cases, width)[:, :-1].astype(np.float64)

    @property
    def absent_classes(self) -> int:
        """Number of classes without a window, which no mean includes."""
        return int((~self.label.any(0)).sum())


@dataclass(frozen=True, kw_only=True)
class CasePrecision:
    """Average precisions within each case. It gives `case_map` alone, and quickly."""

    by_case: Float64[np.ndarray, "cases classes"]
    """NaN where a case lacks the class."""

    @property
    def num_cases(self) -> int:
        """Number of cases."""
        return len(self.by_case)

    def beside(self, other: "CasePrecision") -> "CasePrecision":
        """Return the cases of both predictions, this one's first (see `swap_test`)."""
        return CasePrecision(by_case=np.concatenate([self.by_case, other.by_case]))

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return `case_map` of each of `r` test sets.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        return {"case_map": mean_over_columns(mean_over_rows(self.by_case, weights))}
