"""How far scores would move with other cases: percentile intervals from resampled cases, and paired differences.

Cases are resampled, not windows: windows of one case resemble each other, and resampling them gives intervals that are far
too narrow (Reinke et al. 2025, arXiv:2511.03769).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

Verdict = Literal["better", "not shown", "worse"]
RESAMPLES = 2000
SEED = 0
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score or a difference, with its interval of 95 %."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Of a difference: better or worse where the interval leaves out 0."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "not shown"


def case_weights(
    num_cases: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Float64[np.ndarray, "r cases"]:
    """How often each case stands in each test set: row 0 is the one that there is, the others draw as many with replacement."""
    drawn = np.random.default_rng(seed).integers(num_cases, size=(resamples, num_cases))
    cells = drawn + num_cases * np.arange(resamples)[:, None]
    weights = np.bincount(cells.ravel(), minlength=resamples * num_cases).reshape(
        resamples, num_cases
    )
    return np.concatenate([np.ones((1, num_cases)), weights]).astype(np.float64)


def interval(values: Float64[np.ndarray, " r"]) -> Interval:
    """The interval of a score from its values on the test sets of `case_weights`; of a difference, from paired ones."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Interval(value=float(values[0]), low=float(low), high=float(high))
