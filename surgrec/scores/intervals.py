"""Intervals of scores, and of paired differences, over resampled cases.

Cases are resampled, not windows. Windows of one case resemble each other, and resampling them gives
intervals that are far too narrow (Reinke et al. 2025, arXiv:2511.03769). Cases of one patient or
center resemble each other, too: where these are known, they are resampled first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr, stdtrit

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


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """Test sets that are drawn from the cases of one test set."""

    weights: Float64[np.ndarray, "r cases"]
    """Multiplicity of each case in each test set. Row 0 is the original one."""
    num_units: int
    """Independent units that are drawn: centers, else patients, else cases."""


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


def resample(
    groups: Sequence[Sequence[str]], num_cases: int, *, resamples: int = RESAMPLES, seed: int = SEED
) -> Resamples:
    """Draw test sets from the outermost group inward: centers, their patients, their cases.

    A group with one member, such as the only center, is not drawn: its members are.

    Args:
        groups: Names of the group of each case, such as its center and its patient, the outermost
            first. A level may be absent.
        num_cases: Number of cases.
        resamples: Number of test sets.
        seed: Seed of the draws.
    """
    levels = [list(level) for level in groups if len(set(level)) > 1]
    # A name of an inner group may recur in another outer group.
    paths = [tuple(level[case] for level in levels) for case in range(num_cases)]
    if not levels:
        return Resamples(
            weights=case_weights(num_cases, resamples=resamples, seed=seed), num_units=num_cases
        )

    rng = np.random.default_rng(seed)
    weights = np.zeros((resamples, num_cases))
    _draw(rng, np.ones(resamples, dtype=np.int64), list(range(num_cases)), paths, 0, weights)
    original = np.ones((1, num_cases))
    return Resamples(weights=np.concatenate([original, weights]), num_units=len(set(levels[0])))


def estimate(values: Float64[np.ndarray, " r"], num_units: int) -> Estimate:
    """Return a score with its interval.

    The interval is the expanded percentile interval (Hesterberg 2015, arXiv:1411.5279): quantiles
    of the resampled scores, further out for few units. The plain percentile interval is too narrow,
    as resamples of n units vary by (n-1)/n too little and their tails are those of the normal and
    not of the t distribution.

    Args:
        values: The score on each test set of `case_weights`. For a difference: paired differences.
            Test sets in which a score is undefined (NaN) are left out.
        num_units: Independent units that were drawn, such as cases; at least 2.
    """
    drawn = values[1:][np.isfinite(values[1:])]
    if not len(drawn) or num_units < 2:
        return Estimate(value=float(values[0]), low=float("nan"), high=float("nan"))

    t = stdtrit(num_units - 1, (1 + LEVEL) / 2)
    tail = ndtr(-np.sqrt(num_units / (num_units - 1)) * t)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value=float(values[0]), low=float(low), high=float(high))


def draw_seeds(
    scores: Float64[np.ndarray, "seeds r"], *, seed: int = SEED
) -> Float64[np.ndarray, " r"]:
    """Return the score of each test set, with its pretraining seeds drawn, too.

    Row 0 is the mean over all n seeds. Each other row is the mean of n-1 of them, drawn with
    replacement: these means vary as much as means of n new seeds do (Rao and Wu 1988). One seed
    does not show how seeds vary; all rows but the first are then NaN.

    Args:
        scores: The score of each seed on each test set of `case_weights`.
        seed: Seed of the draws.
    """
    num_seeds, num_sets = scores.shape
    if num_seeds < 2:
        return np.concatenate([scores[0, :1], np.full(num_sets - 1, np.nan)])

    drawn = np.random.default_rng(seed).integers(num_seeds, size=(num_seeds - 1, num_sets))
    means: Float64[np.ndarray, " r"] = np.take_along_axis(scores, drawn, axis=0).mean(0)
    means[0] = scores[:, 0].mean()
    return means


def spread(values: Sequence[float] | Float64[np.ndarray, " n"]) -> float:
    """Return the standard deviation of scores of seeds, videos or cases, with n - 1.

    Args:
        values: One score each; NaN if it is undefined. Fewer than two defined ones give NaN.
    """
    array = np.asarray(values, dtype=np.float64)
    defined = array[np.isfinite(array)]
    return float(defined.std(ddof=1)) if len(defined) > 1 else float("nan")


def _draw(
    rng: np.random.Generator,
    times: Any,
    cases: list[int],
    paths: Sequence[tuple[str, ...]],
    level: int,
    weights: Float64[np.ndarray, "r cases"],
) -> None:
    """Add draws of the cases of one group, `times[r]` times in test set `r`, to the weights."""
    if level == len(paths[0]):
        members = [[case] for case in cases]
    else:
        names = dict.fromkeys(paths[case][level] for case in cases)
        members = [[case for case in cases if paths[case][level] == name] for name in names]

    # A group that is drawn twice draws its members twice, independently.
    shares = np.full(len(members), 1 / len(members))
    drawn = rng.multinomial(times * len(members), shares)
    for column, member in enumerate(members):
        if level == len(paths[0]):
            weights[:, member[0]] += drawn[:, column]
        else:
            _draw(rng, drawn[:, column], member, paths, level + 1, weights)
