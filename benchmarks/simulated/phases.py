"""Simulated cases with one phase per window."""

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
from surgrec.scores import CaseCounts
from surgrec.scores.paired import CaseTable

PRESENT = np.array([0.6, 1.0, 1.0, 1.0, 0.95, 0.9, 0.8])
"""Phases: share of cases that have each one."""
MEDIAN_S = np.array([60.0, 600.0, 120.0, 500.0, 60.0, 150.0, 80.0])
"""Median length of each phase."""
RUN_S = 20.0
"""Length of a run of windows that are right or wrong together."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """One phase per window. Phases have random lengths; mistakes are neighboring phases."""

    confusion: Float64[np.ndarray, "e c 7 7"]
    """Windows of each label and prediction, for each encoder and case."""
    metrics: tuple[str, ...] = ("macro_f1", "balanced_accuracy", "accuracy", "case_accuracy")

    @classmethod
    def simulate(cls, encoders: Sequence[Encoder], cases: int, seed: int) -> "Phases":
        """Return a population of cases."""
        rng = np.random.default_rng(seed)
        phases = len(PRESENT)
        length = np.ceil(MEDIAN_S * np.exp(0.6 * rng.normal(size=(cases, phases))))
        length *= rng.random((cases, phases)) < PRESENT
        runs = np.ceil(length / RUN_S).astype(np.int64)
        of_case = difficulties(len(encoders), (cases, 1), rng)
        of_phase = difficulties(len(encoders), (cases, phases), rng)

        found = np.zeros((len(encoders), cases, phases, phases))
        for index, encoder in enumerate(encoders):
            log_odds = encoder.skill + encoder.spread * (of_case[index] + of_phase[index])
            right = rng.binomial(runs, 1 / (1 + np.exp(-log_odds)))
            hits = np.round(length * right / np.maximum(runs, 1))
            later = np.round((length - hits) * rng.random((cases, phases)))
            for phase in range(phases):
                confusion = found[index, :, phase]
                confusion[:, phase] += hits[:, phase]
                confusion[:, min(phase + 1, phases - 1)] += later[:, phase]
                confusion[:, max(phase - 1, 0)] += (length - hits - later)[:, phase]
        return cls(confusion=found)

    @property
    def size(self) -> int:
        """Number of cases."""
        return self.confusion.shape[1]

    def truth(self, encoder: int) -> dict[str, float]:
        """Return the scores on the whole population."""
        found = _counts(self.confusion[encoder]).scores(np.ones((1, self.size)))
        return {str(metric): float(value[0]) for metric, value in found.items()}

    def tables(self, rows: Int64[np.ndarray, " n"]) -> list[CaseTable]:
        """Return the counts of each encoder."""
        return [_counts(each[rows]) for each in self.confusion]

    def scores(self, rows: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]) -> Scores:
        """Return all scores of the first encoder on resamples of some cases."""
        return dict(_counts(self.confusion[0, rows]).scores(weights))

    def window_scores(
        self, rows: Int64[np.ndarray, " n"], encoders: Sequence[int], rng: np.random.Generator
    ) -> list[Scores]:
        """Return the scores of one or two encoders on resampled windows.

        Their mistakes within a phase of a case are independent, so its windows divide into pairs of
        predictions in proportion.
        """
        drawn = [self.confusion[encoder, rows] for encoder in encoders]
        if len(drawn) == 1:
            pairs = drawn[0].sum(0)[:, :, None]
        else:
            windows = np.maximum(drawn[0].sum(2, keepdims=True), 1)
            pairs = np.einsum("clp,clq->lpq", drawn[0] / windows, drawn[1])
        label, *predicted = np.nonzero(pairs)
        cells = pairs[(label, *predicted)]
        counts = rng.multinomial(round(cells.sum()), cells / cells.sum(), size=WINDOW_RESAMPLES)

        found = []
        for column in predicted[: len(drawn)]:
            confusion = np.zeros((WINDOW_RESAMPLES, *pairs.shape[:2]))
            for cell, (row, guess) in enumerate(zip(label, column, strict=True)):
                confusion[:, row, guess] += counts[:, cell]
            found.append(dict(_counts(confusion).scores(np.eye(WINDOW_RESAMPLES))))
        return found

    def either_way(self) -> "Phases":
        """Return each case with every rotation of the encoders."""
        return replace(self, confusion=rotated(self.confusion))


def _counts(confusion: Float64[np.ndarray, "c 7 7"]) -> CaseCounts:
    """Return the counts of cases from their tables of labels and predictions."""
    return CaseCounts(
        correct=np.ascontiguousarray(np.diagonal(confusion, axis1=1, axis2=2)),
        predicted=confusion.sum(1),
        labeled=confusion.sum(2),
    )
