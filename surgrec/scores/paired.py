"""Paired comparisons of two classifiers on the same cases, and verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64
from scipy import stats

from surgrec.scores.intervals import LEVEL, SEED, Estimate

Verdict = Literal["better", "not shown", "worse"]
"""Of one classifier against another."""

MIN_CASES = 10
"""Test cases that a verdict needs."""

SWAPS = 2000
"""Random exchanges of a test of many cases."""
MOST_EXACT = 11
"""Cases up to which a test tries all exchanges."""


@runtime_checkable
class CaseTable(Protocol):
    """Predictions on cases, from which scores of any test set of these cases follow."""

    @property
    def num_cases(self) -> int:
        """Number of cases."""

    def beside(self, other: Any) -> Any:
        """Return the cases of both predictions, this one's first."""

    def scores(self, weights: Float64[np.ndarray, "r cases"]) -> Any:
        """Return the scores of each of `r` test sets, by the name of the metric."""


@dataclass(frozen=True, kw_only=True)
class CaseWins:
    """The differences of two classifiers on each case."""

    wins: int
    ties: int
    losses: int
    effect: float
    """Mean difference over its standard deviation (Cohen's d of pairs); NaN if all are equal."""


def swap_test(
    first: Sequence[CaseTable], second: Sequence[CaseTable], metric: str, *, seed: int = SEED
) -> float:
    """Return the p-value of two classifiers that are equal, two-sided.

    If they are equal, an exchange of their predictions on any case changes the difference of scores
    by chance only. The p-value is the share of exchanges whose difference is at least as large. It
    holds for any number of cases and any metric, as no distribution is assumed.

    Args:
        first: Predictions of the first classifier, one entry per seed.
        second: Predictions of the second one on the same cases.
        metric: Name of the metric.
        seed: Seed of the exchanges.
    """
    swapped = _swaps(first[0].num_cases, seed)
    stay, move = (np.concatenate([~swapped, swapped], 1), np.concatenate([swapped, ~swapped], 1))

    # Each seed of one classifier is paired with one of the other; the fewer ones are repeated.
    pairs = [
        (first[index % len(first)], second[index % len(second)])
        for index in range(max(len(first), len(second)))
    ]
    tables = [one.beside(other) for one, other in pairs]
    differences = np.mean(
        [
            table.scores(stay.astype(np.float64))[metric]
            - table.scores(move.astype(np.float64))[metric]
            for table in tables
        ],
        axis=0,
    )

    # Row 0 exchanges nothing. Sums in another order differ in the last bits.
    reached = np.abs(differences) >= abs(differences[0]) - 1e-12
    return float(reached.mean())


def case_wins(
    first: Float64[np.ndarray, " cases"], second: Float64[np.ndarray, " cases"]
) -> CaseWins:
    """Compare two classifiers case by case.

    Args:
        first: Score of each case; NaN if it is undefined.
        second: Likewise for the other classifier. Cases with a NaN are left out.
    """
    difference = first - second
    difference = difference[np.isfinite(difference)]
    spread = difference.std(ddof=1) if len(difference) > 1 else 0.0
    return CaseWins(
        wins=int((difference > 0).sum()),
        ties=int((difference == 0).sum()),
        losses=int((difference < 0).sum()),
        effect=float(difference.mean() / spread) if spread > 0 else float("nan"),
    )


def verdict_of(difference: Estimate, p_value: float, num_units: int) -> Verdict:
    """Return *better* or *worse* if the interval excludes 0, the test agrees, and cases suffice.

    Args:
        difference: The paired difference.
        p_value: Of `swap_test`; corrected with `holm` if there are several comparisons.
        num_units: Independent test cases (patients, centers).
    """
    if num_units < MIN_CASES or not p_value <= 1 - LEVEL:
        return "not shown"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "not shown"


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979), in the given order.

    The chance that any of them is at most 0.05 without an effect is then at most 0.05.
    """
    order = np.argsort(p_values)
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, dtype=np.float64)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1)
    return [float(value) for value in corrected]


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value: 1 for the largest, the mean rank for equal ones.

    Values that are NaN, such as those of degenerate rows, get no rank (NaN).
    """
    array = np.asarray(values, dtype=np.float64)
    found = np.full(len(array), np.nan)
    ranked = np.isfinite(array)
    found[ranked] = stats.rankdata(-array[ranked])
    return [float(value) for value in found]


def _swaps(num_cases: int, seed: int) -> Bool[np.ndarray, "swaps cases"]:
    """Return which cases each exchange concerns; row 0 has none."""
    if num_cases <= MOST_EXACT:
        numbers = np.arange(2**num_cases)[:, None]
        return np.asarray((numbers >> np.arange(num_cases)) % 2 == 1)
    drawn = np.random.default_rng(seed).random((SWAPS, num_cases)) < 0.5
    return np.concatenate([np.zeros((1, num_cases), dtype=bool), drawn])
