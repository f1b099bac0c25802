"""Simulated cases with a number per video, as of ratings of skill."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int64

from benchmarks.simulated.population import (
    WINDOW_RESAMPLES,
    Encoder,
    Scores,
    difficulties,
    rotated,
)
from surgrec.scores.paired import CaseTable
from surgrec.scores.regression import Numbers

TRIALS, WINDOWS = 3, 200
"""Numbers: videos of a case, such as the trials of a surgeon, and windows of a video."""


@dataclass(frozen=True, kw_only=True)
class Skills:
    """A number per video, such as the rating of a trial; a case is a surgeon with some trials."""

    value: Float64[np.ndarray, "c 3"]
    predicted: Float64[np.ndarray, "e c 3"]
    metrics: tuple[str, ...] = ("spearman", "mae")

    @classmethod
    def simulate(cls, encoders: Sequence[Encoder], cases: int, seed: int) -> "Skills":
        """Return a population of cases. Ratings are whole numbers, so that some are equal."""
        rng = np.random.default_rng(seed)
        shape = (cases, TRIALS)
        value = np.round(18 + 4 * rng.normal(size=(cases, 1)) + 2.5 * rng.normal(size=shape))
        of_case = difficulties(len(encoders), (cases, 1), rng)
        of_trial = difficulties(len(encoders), shape, rng)
        predicted = [
            18 + 0.3 * encoder.skill * (value - 18) + 3 * encoder.spread * (case + trial)
            for encoder, case, trial in zip(encoders, of_case, of_trial, strict=True)
        ]
        return cls(value=value, predicted=np.stack(predicted))

    @property
    def size(self) -> int:
        """Number of cases."""
        return len(self.value)

    def truth(self, encoder: int) -> dict[str, float]:
        """Return the scores on the whole population."""
        found = self._table(encoder, np.arange(self.size)).scores(np.ones((1, self.size)))
        return {metric: float(found[metric][0]) for metric in self.metrics}

    def tables(self, rows: Int64[np.ndarray, " n"]) -> list[CaseTable]:
        """Return the numbers of each encoder."""
        return [self._table(encoder, rows) for encoder in range(len(self.predicted))]

    def scores(self, rows: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]) -> Scores:
        """Return all scores of the first encoder on resamples of some cases."""
        return self._table(0, rows).scores(weights)

    def window_scores(
        self, rows: Int64[np.ndarray, " n"], encoders: Sequence[int], rng: np.random.Generator
    ) -> list[Scores]:
        """Return the scores of encoders on resampled windows, which have the number of a video."""
        videos = len(rows) * TRIALS
        weights = rng.multinomial(
            videos * WINDOWS, np.full(videos, 1 / videos), size=WINDOW_RESAMPLES
        ).astype(np.float64)
        return [
            Numbers(
                case=np.arange(videos),
                value=self.value[rows].ravel(),
                predicted=self.predicted[encoder, rows].ravel(),
                num_cases=videos,
            ).scores(weights)
            for encoder in encoders
        ]

    def either_way(self) -> "Skills":
        """Return each case with every rotation of the encoders."""
        return replace(
            self,
            value=np.concatenate([self.value] * len(self.predicted)),
            predicted=rotated(self.predicted),
        )

    def _table(self, encoder: int, rows: Int64[np.ndarray, " n"]) -> Numbers:
        return Numbers(
            case=np.arange(len(rows)).repeat(TRIALS),
            value=self.value[rows].ravel(),
            predicted=self.predicted[encoder, rows].ravel(),
            num_cases=len(rows),
        )
