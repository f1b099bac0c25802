"""Scores of several labels at a time: average precision over windows, per class and in the mean."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.scores._means import divided, in_blocks, mean_over_columns, mean_over_rows


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
        """Return the average precision of each class in each test set; NaN for absent classes."""

        def precision(rows: Float64[np.ndarray, "b cases"]) -> Float64[np.ndarray, "b classes"]:
            columns = zip(self.label.T, self.score.T, strict=True)
            each = rows[:, self.case]
            return np.stack([average_precision(*column, each) for column in columns], axis=1)

        return np.asarray(in_blocks(precision, weights, len(self.case)))

    @cached_property
    def case_precision(self) -> Float64[np.ndarray, "cases classes"]:
        """Average precision of each class within each case; NaN where a case lacks the class."""
        return np.stack(
            [
                _class_precision(self.label[rows], self.score[rows])
                for rows in (self.case == case for case in range(self.num_cases))
            ]
        )

    @property
    def absent_classes(self) -> int:
        """Number of classes without a window, which no mean includes."""
        return int((~self.label.any(0)).sum())


def average_precision(
    label: Bool[np.ndarray, " n"],
    score: Float64[np.ndarray, " n"],
    weights: Float64[np.ndarray, "r n"],
) -> Float64[np.ndarray, " r"]:
    """Return the average precision of one class for each of `r` weightings of the windows.

    The definition is scikit-learn's: the sum over thresholds of the precision times the increase of
    recall, without interpolation. Equal scores are one threshold. Without a positive it is NaN.
    """
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    weighted = weights[:, order]
    positive = np.cumsum(weighted * label[order], axis=1)[:, ends]
    selected = np.cumsum(weighted, axis=1)[:, ends]

    precision = positive / np.where(selected > 0, selected, 1)
    gained = np.diff(positive, axis=1, prepend=0)
    return np.asarray(divided((gained * precision).sum(1), positive[:, -1]))


def _class_precision(
    label: Bool[np.ndarray, "n classes"], score: Float64[np.ndarray, "n classes"]
) -> Float64[np.ndarray, " classes"]:
    once = np.ones((1, len(label)))
    return np.array(
        [
            average_precision(label[:, column], score[:, column], once)[0]
            for column in range(label.shape[1])
        ]
    )
