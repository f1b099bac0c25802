"""Scores of predicted numbers, such as the skill of a surgeon."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.scores._means import divided, in_blocks


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """True and predicted numbers, of videos or of windows."""

    case: Int64[np.ndarray, " n"]
    """Case of each number."""
    value: Float64[np.ndarray, " n"]
    predicted: Float64[np.ndarray, " n"]
    num_cases: int

    def beside(self, other: "Numbers") -> "Numbers":
        """Return the cases of both predictions, this one's first (see `swap_test`)."""
        return Numbers(
            case=np.concatenate([self.case, other.case + self.num_cases]),
            value=np.concatenate([self.value, other.value]),
            predicted=np.concatenate([self.predicted, other.predicted]),
            num_cases=self.num_cases + other.num_cases,
        )

    def scores(
        self, weights: Float64[np.ndarray, "r cases"]
    ) -> dict[str, Float64[np.ndarray, " r"]]:
        """Return the scores of each of `r` test sets.

        `spearman`: the rank correlation, in [-1, 1]; NaN if all true or all predicted numbers of
        the test set are equal. `mae` and `rmse`: mean absolute and root mean squared error, in the
        unit of the numbers; lower is better.

        Args:
            weights: Multiplicity of each case in each test set (see `case_weights`).
        """
        error = self.predicted - self.value
        by_case = [
            np.bincount(self.case, weights=values, minlength=self.num_cases)
            for values in (np.ones(len(error)), np.abs(error), error**2)
        ]
        total, absolute, squared = (weights @ sums for sums in by_case)
        return {
            "spearman": in_blocks(self._spearman, weights, len(error)),
            "mae": absolute / total,
            "rmse": np.sqrt(squared / total),
        }

    def _spearman(self, weights: Float64[np.ndarray, "r cases"]) -> Float64[np.ndarray, " r"]:
        each = weights[:, self.case]
        return _correlation(
            _weighted_ranks(self.value, each), _weighted_ranks(self.predicted, each), each
        )


def _weighted_ranks(
    values: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]
) -> Float64[np.ndarray, "r n"]:
    """Return ranks among `weights` copies of each value; equal values share their mean rank."""
    order = np.argsort(values, kind="stable")
    is_first = np.append(True, np.diff(values[order]) != 0)
    copies = np.add.reduceat(weights[:, order], np.flatnonzero(is_first), axis=1)
    middle = np.cumsum(copies, axis=1) - (copies - 1) / 2

    ranks = np.empty_like(weights)
    ranks[:, order] = middle[:, np.cumsum(is_first) - 1]
    return ranks


def _correlation(
    first: Float64[np.ndarray, "r n"],
    second: Float64[np.ndarray, "r n"],
    weights: Float64[np.ndarray, "r n"],
) -> Float64[np.ndarray, " r"]:
    total = weights.sum(1, keepdims=True)
    one, other = (
        values - (weights * values).sum(1, keepdims=True) / total for values in (first, second)
    )
    variances = [(weights * values**2).sum(1) for values in (one, other)]
    spread = np.sqrt(variances[0] * variances[1])
    # Differences of equal ranks are not exactly 0.
    spread = np.where(spread < 1e-9 * total[:, 0], 0, spread)
    return np.asarray(divided((weights * one * other).sum(1), spread))
