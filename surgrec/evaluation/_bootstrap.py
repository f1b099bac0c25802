"""Percentile intervals of scores, and of paired differences, over resampled cases.

Cases are resampled, not windows. Windows of one case resemble each other, and resampling them gives
intervals that are far too narrow (Reinke et al. 2025, arXiv:2511.03769).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

RESAMPLES = 2000
SEED = 0
LEVEL = 0.95
"""Confidence level of all intervals."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A score or a difference of scores, with its 95 % interval."""

    value: float
    low: float
    high: float


def case_weights(
    num_cases: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Float64[np.ndarray, "r cases"]:
    """Return the multiplicity of each case in each test set.

    Row 0 holds the original test set. Each other row draws `num_cases` cases with replacement.
    """
    drawn = np.random.default_rng(seed).integers(num_cases, size=(resamples, num_cases))
    cells = drawn + num_cases * np.arange(resamples)[:, None]
    weights = np.bincount(cells.ravel(), minlength=resamples * num_cases)
    original = np.ones((1, num_cases))
    return np.concatenate([original, weights.reshape(resamples, num_cases)]).astype(np.float64)


def estimate(values: Float64[np.ndarray, " r"]) -> Estimate:
    """Return a score with its interval.

    Args:
        values: The score on each test set of `case_weights`. For a difference: paired differences.
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail])
    return Estimate(value=float(values[0]), low=float(low), high=float(high))
