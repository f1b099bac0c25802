"""Paired comparisons of two classifiers on the same cases, and verdicts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.scores.intervals import LEVEL, SEED, Estimate

Verdict = Literal["better", "not shown", "worse"]
"""Of one classifier against another."""

MIN_CASES = 10
"""Test cases that a verdict needs."""

SWAPS = 2000
"""Random exchanges in the permutation test of many cases."""
MOST_EXACT = 12
"""Cases up to which a test tries all exchanges; each also stands for its complement."""


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
    first: Sequence[CaseTable],
    second: Sequence[CaseTable],
    metric: str,
    *,
    units: Int64[np.ndarray, " cases"] | None = None,
    among: Bool[np.ndarray, " cases"] | None = None,
    seed: int = SEED,
) -> float:
    """Return the two-sided p-value of a permutation test: are two classifiers equal?

    If they are equal, an exchange of their predictions on any case changes the difference of scores
    by chance only. The p-value is the share of exchanges whose difference is at least as large. It
    holds for any number of cases and any metric, as no distribution is assumed.

    With as many seeds of both, all predictions of a case are exchanged together. With other
    numbers, such as one trained encoder beside three random ones, the predictions of a case are
    rotated: each of them may be the one of the fewer seeds. Both are exact.

    Args:
        first: Predictions of the first classifier, one entry per seed.
        second: Predictions of the second one on the same cases.
        metric: Name of the metric. Exchanges for which it is undefined count as large.
        units: Independent unit of each case, such as its patient, as an index; its cases are
            exchanged together. None: each case is one.
        among: Cases to compare on, such as those of one center. None: all.
        seed: Seed of the exchanges.
    """
    num_cases = first[0].num_cases
    chosen = np.ones(num_cases, dtype=bool) if among is None else among
    unit = (np.arange(num_cases) if units is None else units)[chosen]
    unit = np.unique(unit, return_inverse=True)[1]
    members = [*first, *second]
    step = math.gcd(len(first), len(second))
    drawn = _turns(int(unit.max()) + 1, len(members) // step, seed)[:, unit]
    turns = np.zeros((len(drawn), num_cases), dtype=np.int64)
    turns[:, chosen] = drawn

    # Members that are `step` apart form a ring, within which the predictions of a case turn.
    scores = np.empty((len(members), len(turns)))
    for index in range(len(members)):
        ring = members[index % step :: step]
        table = reduce(lambda joined, each: joined.beside(each), ring)
        taken = np.where(chosen, (turns + index // step) % len(ring), -1)
        weights = np.concatenate([taken == place for place in range(len(ring))], axis=1)
        scores[index] = table.scores(weights.astype(np.float64))[metric]
    differences = scores[: len(first)].mean(0) - scores[len(first) :].mean(0)

    # Row 0 exchanges nothing. Sums in another order differ in the last bits.
    reached = ~(np.abs(differences) < abs(differences[0]) - 1e-12)
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
    from scipy.stats import rankdata  # half a second to import, which few callers need

    array = np.asarray(values, dtype=np.float64)
    found = np.full(len(array), np.nan)
    ranked = np.isfinite(array)
    found[ranked] = rankdata(-array[ranked])
    return [float(value) for value in found]


def _turns(num_units: int, size: int, seed: int) -> Int64[np.ndarray, "turns units"]:
    """Return by how much each of `turns` exchanges rotates the predictions of each unit.

    Row 0 rotates nothing. All rotations are tried if there are few, else random ones.

    Args:
        num_units: Number of units.
        size: Predictions of a unit that are rotated.
        seed: Seed of random rotations.
    """
    if size == 2:
        return _swaps(num_units, seed).astype(np.int64)
    if size**num_units <= SWAPS:
        numbers = np.arange(size**num_units)[:, None]
        return np.asarray(numbers // size ** np.arange(num_units) % size)
    drawn = np.random.default_rng(seed).integers(size, size=(SWAPS, num_units))
    return np.concatenate([np.zeros((1, num_units), dtype=np.int64), drawn])


def _swaps(num_cases: int, seed: int) -> Bool[np.ndarray, "swaps cases"]:
    """Return which cases each exchange concerns; row 0 has none.

    The exchange of all other cases has the same difference with the other sign. So of both only the
    one that leaves the last case is tried.
    """
    if num_cases <= MOST_EXACT:
        numbers = np.arange(2 ** max(0, num_cases - 1))[:, None]
        return np.asarray((numbers >> np.arange(num_cases)) % 2 == 1)
    drawn = np.random.default_rng(seed).random((SWAPS, num_cases)) < 0.5
    return np.concatenate([np.zeros((1, num_cases), dtype=bool), drawn])
