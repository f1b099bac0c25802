"""Logistic regression with an L2 penalty that is chosen on held-out cases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from surgrec.evaluation.probes.choice import Choice, choice_of
from surgrec.evaluation.probes.folds import fold_members
from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions, WindowFeatures
from surgrec.evaluation.probes.softmax_regression import SoftmaxHeads, fit_softmax
from surgrec.evaluation.probes.standardize import standardized

_NOT_CONVERGED = "logistic regressions stopped before they converged"
_AT_EDGE = "logistic regressions whose C is at the edge of the grid"


@dataclass(frozen=True, kw_only=True)
class LogisticRegression:
    """Multinomial logistic regression on standardized features.

    It is the regression of scikit-learn with its default settings. All penalties and folds are
    fitted at once (see `fit_softmax`), on the device of the features.
    """

    c_grid: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """Inverse strengths of the L2 penalty to choose from, ascending."""
    folds: int = 5
    """Folds of train cases over which the penalty is chosen; fewer if there are fewer cases."""
    tolerance: float = 1e-5
    """Largest component of the gradient of the mean loss at which a fit has converged."""
    max_iterations: int = 1000
    """Iterations of the solver."""

    name = "logistic"
    label = "logistic regression"
    issues = (_NOT_CONVERGED, _AT_EDGE)
    seeds = (0,)

    def fit_predict(
        self,
        train: LabeledFeatures,
        test: WindowFeatures,
        *,
        val: LabeledFeatures | None = None,
        seed: int = 0,
    ) -> ProbePredictions:
        """Choose the penalty, fit all train windows with it, and predict the test windows."""
        c = self.choose_c(train, val)
        fitted, queries = standardized(train.values, test.values)
        heads = self._fit(train, fitted, [np.arange(len(train.label))], (c,))
        probability = heads.probability(queries, 0, 0).cpu().numpy()

        occurred = {
            _NOT_CONVERGED: not bool(heads.converged.all()),
            _AT_EDGE: c in (self.c_grid[0], self.c_grid[-1]),
        }
        return ProbePredictions.most_probable(probability, f"{c:g}", occurred)

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the part of the protocol that describes this probe."""
        grid = ", ".join(f"{c:g}" for c in self.c_grid)
        choices = ", ".join(f"{c} for {name}" for name, c in chosen.items())
        return (
            f"{self.label}: multinomial, L2 penalty, fitted until the gradient of the mean loss is "
            f"at most {self.tolerance:g} or rounding hides further progress, C among {grid} by "
            f"macro F1 on val, or without val over up to {self.folds} folds of train cases, the "
            f"same for every encoder (chosen: {choices})"
        )

    def choose_c(self, train: LabeledFeatures, val: LabeledFeatures | None = None) -> float:
        """Return the C with the best primary score on val, or over held-out folds of train cases.

        Of equally good ones it is the strongest penalty. A single train case has no folds: C is
        then the middle of the grid.
        """
        choice = choice_of(train, val, self.folds)
        if len(self.c_grid) == 1 or choice is None:
            return self.c_grid[len(self.c_grid) // 2]

        (values,) = standardized(choice.windows.values)
        fitted = [fitted for fitted, _ in choice.folds]
        heads = self._fit(choice.windows, values, fitted, self.c_grid)
        scores = [_score(choice, values, heads, index) for index in range(len(self.c_grid))]
        return self.c_grid[int(np.argmax(scores))]

    def _fit(
        self,
        windows: LabeledFeatures,
        values: torch.Tensor,
        folds: list[np.ndarray],
        c_grid: tuple[float, ...],
    ) -> SoftmaxHeads:
        return fit_softmax(
            values,
            torch.from_numpy(windows.label).to(values.device),
            fold_members(folds, values),
            c_grid,
            num_classes=windows.num_classes,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
        )


def _score(choice: Choice, values: torch.Tensor, heads: SoftmaxHeads, index: int) -> float:
    """Return the primary score of one penalty on the held-out rows."""
    predicted = np.zeros_like(choice.windows.label)
    for fold, (_, held_out) in enumerate(choice.folds):
        queries = values[torch.from_numpy(held_out).to(values.device)]
        predicted[held_out] = heads.probability(queries, fold, index).argmax(1).cpu().numpy()
    return choice.score(predicted)
