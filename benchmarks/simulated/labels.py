"""Simulated cases with several labels per window, as of tools."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from benchmarks.simulated.population import (
    WINDOW_RESAMPLES,
    Encoder,
    Scores,
    difficulties,
    rotated,
)
from surgrec.scores.multilabel import CasePrecision, LabelSets
from surgrec.scores.paired import CaseTable

PREVALENCE = np.array([0.6, 0.5, 0.1, 0.05, 0.05])
"""Labels: mean share of windows with each one, as of the tools of Cholec80."""
RUNS, RUN_WINDOWS = 24, 4
"""Runs of a case with labels, and windows of a run; a run has one label and one error."""
LEVELS = 64
"""Different scores of a label."""
BLOCK = 100
"""Cases whose average precisions are computed together."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Several labels per window, each with a score. Rare labels are absent from many cases."""

    label: Bool[np.ndarray, "c n 5"]
    level: UInt8[np.ndarray, "e c n 5"]
    """Score of each label, in steps."""
    by_case: Float64[np.ndarray, "e c 5"]
    """Average precision within each case."""
    metrics: tuple[str, ...] = ("case_map", "map")

    @classmethod
    def simulate(cls, encoders: Sequence[Encoder], cases: int, seed: int) -> "Labels":
        """Return a population of cases."""
        rng = np.random.default_rng(seed)
        shape = (cases, RUNS, len(PREVALENCE))
        share = PREVALENCE * np.exp(0.8 * rng.normal(size=(cases, 1, len(PREVALENCE))))
        label = rng.random(shape) < np.minimum(share, 0.95)
        of_case = difficulties(len(encoders), (cases, 1, 1), rng)
        of_label = difficulties(len(encoders), (cases, 1, len(PREVALENCE)), rng)

        levels = []
        for encoder, *parts in zip(encoders, of_case, of_label, strict=True):
            distance = encoder.skill + encoder.spread * (parts[0] + parts[1])
            score = label * distance + rng.normal(size=shape)
            level = (LEVELS * (score + 4) / 12).clip(0, LEVELS - 1).astype(np.uint8)
            levels.append(level.repeat(RUN_WINDOWS, axis=1))
        label = label.repeat(RUN_WINDOWS, axis=1)
        by_case = [
            np.concatenate(
                [
                    _sets(label[start : start + BLOCK], level[start : start + BLOCK]).case_precision
                    for start in range(0, cases, BLOCK)
                ]
            )
            for level in levels
        ]
        return cls(label=label, level=np.stack(levels), by_case=np.stack(by_case))

    @property
    def size(self) -> int:
        """Number of cases."""
        return len(self.label)

    def truth(self, encoder: int) -> dict[str, float]:
        """Return the scores on the whole population."""
        everything = np.ones((1, self.size))
        return {
            name: float(values[0])
            for name, values in self._scores(encoder, np.arange(self.size), everything).items()
        }

    def tables(self, rows: Int64[np.ndarray, " n"]) -> list[CaseTable]:
        """Return the average precisions within cases of each encoder."""
        return [CasePrecision(by_case=each[rows]) for each in self.by_case]

    def scores(self, rows: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]) -> Scores:
        """Return all scores of the first encoder on resamples of some cases."""
        return self._scores(0, rows, weights)

    def window_scores(
        self, rows: Int64[np.ndarray, " n"], encoders: Sequence[int], rng: np.random.Generator
    ) -> list[Scores]:
        """Return the mAP of encoders on resampled windows.

        Windows without their cases have no average precision within a case, so there is no
        `case_map`.
        """
        count = len(rows) * RUNS * RUN_WINDOWS
        shares = np.full(count, 1 / count)
        weights = rng.multinomial(count, shares, size=WINDOW_RESAMPLES).astype(np.float64)
        found = []
        for encoder in encoders:
            # Each window is a case of its own.
            windows = (count, 1, len(PREVALENCE))
            label, level = (
                each.reshape(windows) for each in (self.label[rows], self.level[encoder, rows])
            )
            sets = _sets(label, level)
            value = np.nanmean(sets.class_precision(weights), axis=1)
            found.append({"map": value})
        return found

    def either_way(self) -> "Labels":
        """Return each case with every rotation of the encoders."""
        return replace(
            self,
            label=np.concatenate([self.label] * len(self.level)),
            level=rotated(self.level),
            by_case=rotated(self.by_case),
        )

    def _scores(
        self, encoder: int, rows: Int64[np.ndarray, " n"], weights: Float64[np.ndarray, "r n"]
    ) -> Scores:
        pooled = _sets(self.label[rows], self.level[encoder, rows]).class_precision(weights)
        of_cases = CasePrecision(by_case=self.by_case[encoder, rows]).scores(weights)
        return {**of_cases, "map": np.nanmean(pooled, axis=1)}


def _sets(label: Bool[np.ndarray, "c n 5"], level: UInt8[np.ndarray, "c n 5"]) -> LabelSets:
    """Return the labels and scores of cases of equal lengths."""
    cases, windows, classes = label.shape
    return LabelSets(
        case=np.arange(cases).repeat(windows),
        label=label.reshape(-1, classes),
        score=level.reshape(-1, classes).astype(np.float64),
        num_cases=cases,
    )
