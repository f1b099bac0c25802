"""The interface of a population of simulated cases, and the difficulty of its cases."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.scores.paired import CaseTable

WINDOW_RESAMPLES = 400
"""Resamples of windows."""
SHARED = 0.6
"""Share of the variance of difficulty that encoders have in common."""

Scores: TypeAlias = dict[str, Float64[np.ndarray, " r"]]
"""The scores of test sets, by metric."""


class Encoder(NamedTuple):
    """The distribution of an encoder's mistakes."""

    skill: float = 1.6
    """Distance of right from wrong predictions in an average case, in log odds."""
    spread: float = 0.8
    """Standard deviation of this distance over cases."""


class Population(Protocol):
    """Predictions of one or several encoders on many cases."""

    metrics: tuple[str, ...]
    """The first one decides verdicts."""

    @property
    def size(self) -> int:
        """Number of cases."""

    def truth(self, encoder: int) -> dict[str, float]:
        """Return the scores on the whole population."""

    def tables(self, rows: Int64[np.ndarray, " n"]) -> list[CaseTable]:
        """Return the table of each encoder on some cases, with the first metric."""

    def scores(self, rows: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]) -> Scores:
        """Return all scores of the first encoder on resamples of some cases."""

    def window_scores(
        self, rows: Int64[np.ndarray, " n"], encoders: Sequence[int], rng: np.random.Generator
    ) -> list[Scores]:
        """Return the scores of encoders on the same resamples of the windows of some cases.

        A metric that windows without their cases do not have is left out.
        """

    def either_way(self) -> "Population":
        """Return each case with every rotation of the encoders, which makes their scores equal."""


def difficulties(
    encoders: int, shape: tuple[int, ...], rng: np.random.Generator
) -> list[Float64[np.ndarray, "..."]]:
    """Return standard normal numbers for each encoder, of which a part is common."""
    common = rng.normal(size=shape)
    return [
        np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * rng.normal(size=shape)
        for _ in range(encoders)
    ]


def rotated(array: np.ndarray) -> np.ndarray:
    """Return an array of encoders and cases with every rotation of the encoders, for each case."""
    shifts = range(len(array))
    return np.concatenate([np.roll(array, shift, axis=0) for shift in shifts], axis=1)
