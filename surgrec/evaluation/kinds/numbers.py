"""Numbers, such as a score of skill: regression, scored per video."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from surgrec.errors import ConfigError, shown
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation.kinds.kind import Inputs, KindProbe, Outcome, TaskKind, required
from surgrec.evaluation.probes import TRAIN_MEAN, Knn
from surgrec.evaluation.probes.choice import Choice, choice_of
from surgrec.evaluation.probes.folds import fold_members
from surgrec.evaluation.probes.knn import knn_means
from surgrec.evaluation.probes.ridge import RidgeHeads, fit_ridge
from surgrec.evaluation.probes.standardize import standardized
from surgrec.scores.kinds import METRICS_OF, PRIMARY_OF
from surgrec.scores.paired import CaseTable
from surgrec.scores.regression import Numbers

_AT_EDGE = "ridge regressions whose penalty is at the edge of the grid"


class KnnMean(KindProbe):
    """The weighted mean of the numbers of the nearest train windows."""

    name, label = "knn", "kNN"
    issues, seeds = (), (0,)
    _knn = Knn()

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Predict the number of each test window."""
        train, test, _ = inputs
        fitted, queries = standardized(train.values, test.values)
        numbers = torch.from_numpy(numbers_of(windows.train))[:, None].to(fitted.device)
        means = knn_means(
            fitted, numbers, queries, k=self._knn.k, temperature=self._knn.temperature
        )
        return Outcome(number=np.asarray(means[:, 0].cpu().numpy()))

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol."""
        return f"{self._knn.describe(chosen)}, mean of the neighbors' numbers by these weights"


class RidgeRegression(KindProbe):
    """Linear regression with an L2 penalty that is chosen on held-out cases."""

    name, label = "ridge", "ridge regression"
    issues, seeds = (_AT_EDGE,), (0,)
    grid = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0)
    """Penalties to choose from, ascending."""
    folds = 5

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Choose the penalty, fit all train windows with it, and predict the test windows."""
        train, test, val = inputs
        numbers = numbers_of(windows.train)
        known = numbers if windows.val is None else np.r_[numbers, numbers_of(windows.val)]
        choice = choice_of(train, val, self.folds)
        penalty = self.grid[len(self.grid) // 2] if choice is None else self._best(choice, known)

        fitted, queries = standardized(train.values, test.values)
        heads = _fit(fitted, numbers, [np.arange(len(numbers))], (penalty,))
        number = heads.predict(queries, 0)[:, 0].cpu().numpy()
        at_edge = penalty in (self.grid[0], self.grid[-1])
        return Outcome(
            number=number,
            chosen=f"{penalty:g}",
            issues=frozenset([_AT_EDGE] if at_edge else []),
        )

    def _best(self, choice: Choice, numbers: Float64[np.ndarray, " n"]) -> float:
        """Return the penalty of the smallest error on held-out rows; of equals, the strongest."""
        (values,) = standardized(choice.windows.values)
        heads = _fit(values, numbers, [fitted for fitted, _ in choice.folds], self.grid)
        known = torch.from_numpy(numbers).to(values.device)[:, None]
        errors = torch.zeros(len(self.grid), dtype=torch.float64, device=values.device)
        for fold, (_, held_out) in enumerate(choice.folds):
            rows = torch.from_numpy(held_out).to(values.device)
            errors += (heads.predict(values[rows], fold) - known[rows]).abs().sum(0)
        return self.grid[len(self.grid) - 1 - int(errors.flip(0).argmin())]

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol."""
        choices = ", ".join(f"{penalty} for {name}" for name, penalty in chosen.items())
        return (
            f"{self.label}: penalty among {', '.join(f'{each:g}' for each in self.grid)} by the "
            f"mean absolute error on val, or without val over up to {self.folds} folds of train "
            f"cases, the same for every encoder (chosen: {choices})"
        )


class NumberKind(TaskKind):
    """A number for each window, averaged over the windows of a video."""

    name = "numbers"
    metrics = METRICS_OF["numbers"]
    primary = PRIMARY_OF["numbers"]
    rules = (
        "a window's label is the number at its last frame, and windows without one are left out",
        "label and prediction of a video are the means over its windows; Spearman's rank "
        "correlation, mean absolute and root mean squared error (lower is better): over videos",
    )
    video_rules = rules
    has_classes = False
    baselines = (TRAIN_MEAN,)

    @property
    def probes(self) -> tuple[KindProbe, ...]:
        """Nearest neighbors and ridge regression."""
        return (KnnMean(), RidgeRegression())

    def require(self, task: str, values: set[str]) -> None:
        """Refuse labels that are not numbers, or that are all equal."""
        numbers = {_number(value) for value in sorted(values)}
        if len(numbers) < 2:
            raise ConfigError(
                f"all train labels of {task} are {min(values)!r}; evaluate a task with several "
                "values"
            )

    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return the true and the predicted number of each video."""
        test = windows.test
        names = [f"{row.source}/{row.video}" for row in test.rows]
        _, first, video = np.unique(names, return_index=True, return_inverse=True)
        counts = np.bincount(video)
        value, predicted = (
            np.bincount(video, weights=numbers) / counts
            for numbers in (numbers_of(test), self.predicted(prediction))
        )
        return Numbers(
            case=test.case_indices[first],
            value=value,
            predicted=predicted,
            num_cases=len(test.case_names),
        )

    def predicted(self, prediction: Prediction) -> np.ndarray:
        """Return the predicted number of each window."""
        return required(prediction.number, prediction, "number")

    def baseline_rows(
        self, inputs: Inputs, windows: LabeledWindows
    ) -> tuple[list[Prediction], list[ScoredRow]]:
        """Return the mean of the train windows."""
        mean = np.full(len(windows.test.rows), numbers_of(windows.train).mean())
        return [Prediction(features="none", classifier=TRAIN_MEAN.name, number=mean)], []

    def columns(self, prediction: Prediction, windows: LabeledWindows) -> dict[str, Any]:
        """Return numbers."""
        return {"label": numbers_of(windows.test), "prediction": self.predicted(prediction)}


def numbers_of(part: PartWindows) -> Float64[np.ndarray, " n"]:
    """Return the number of each window of a part."""
    return np.array([_number(str(value)) for value in part.values])


def _number(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ConfigError(
            f"the label {shown(value)} is not a number; evaluate with --task_kind classes"
        )
    return number


def _fit(
    values: Float32[Tensor, "n d"],
    numbers: Float64[np.ndarray, " n"],
    folds: Sequence[Int64[np.ndarray, " _"]],
    penalties: Sequence[float],
) -> RidgeHeads:
    known = torch.from_numpy(numbers).to(values.device)
    return fit_ridge(values, known, fold_members(folds, values), penalties)
