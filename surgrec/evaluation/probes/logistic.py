"""Logistic regression with an L2 penalty that is chosen on held-out train cases."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64
from sklearn import linear_model
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions
from surgrec.scores import PRIMARY, GroundTruth, count_predictions

_NOT_CONVERGED = "logistic regressions stopped before they converged"
_AT_EDGE = "logistic regressions whose C is at the edge of the grid"


@dataclass(frozen=True, kw_only=True)
class LogisticRegression:
    """scikit-learn's logistic regression on standardized features."""

    c_grid: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0, 10.0)
    """Inverse strengths of the L2 penalty to choose from, ascending."""
    folds: int = 5
    """Folds of train cases over which the penalty is chosen; fewer if there are fewer cases."""
    max_iterations: int = 1000
    """Iterations of the solver."""

    name = "logistic"
    label = "logistic regression"
    issues = (_NOT_CONVERGED, _AT_EDGE)

    def fit_predict(
        self, train: LabeledFeatures, test: Float32[np.ndarray, "m d"]
    ) -> ProbePredictions:
        """Choose the penalty, fit all train windows with it, and predict the test windows."""
        c = self.choose_c(train)
        model, converged = self._fit(train.values, train.label, c)

        occurred = {_NOT_CONVERGED: not converged, _AT_EDGE: c in (self.c_grid[0], self.c_grid[-1])}
        return ProbePredictions(
            label=_predict(model, test),
            chosen=f"{c:g}",
            issues=frozenset(issue for issue, present in occurred.items() if present),
        )

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the part of the protocol that describes this probe."""
        grid = ", ".join(f"{c:g}" for c in self.c_grid)
        choices = ", ".join(f"{c} for {name}" for name, c in chosen.items())
        return (
            f"{self.label}: L2 penalty, at most {self.max_iterations} iterations, C among {grid} "
            f"by macro F1 over up to {self.folds} folds of train cases, the same for every encoder "
            f"(chosen: {choices})"
        )

    def choose_c(self, train: LabeledFeatures) -> float:
        """Return the C with the best primary score over held-out folds of train cases.

        Of equally good ones it is the strongest penalty.
        """
        if len(self.c_grid) == 1:
            return self.c_grid[0]

        cases = np.unique(train.case, return_inverse=True)[1]
        num_cases = int(cases.max()) + 1
        truth = GroundTruth(
            case=cases, label=train.label, num_cases=num_cases, num_classes=train.num_classes
        )
        num_folds = min(self.folds, num_cases)
        folds = list(GroupKFold(n_splits=num_folds).split(train.values, groups=cases))

        scores = []
        for c in self.c_grid:
            predicted = np.empty_like(train.label)
            for fitted, held_out in folds:
                model, _ = self._fit(train.values[fitted], train.label[fitted], c)
                predicted[held_out] = _predict(model, train.values[held_out])
            counts = count_predictions(truth, predicted)
            scores.append(float(counts.scores(np.ones((1, num_cases)))[PRIMARY][0]))
        return self.c_grid[int(np.argmax(scores))]

    def _fit(
        self, values: Float32[np.ndarray, "n d"], label: Int64[np.ndarray, " n"], c: float
    ) -> tuple[Any, bool]:
        """Return a fitted pipeline, or the only class of `label`; and whether it converged."""
        if len(np.unique(label)) == 1:  # a fold may hold a single class, which sklearn refuses
            return int(label[0]), True

        regression = linear_model.LogisticRegression(C=c, max_iter=self.max_iterations)
        model = make_pipeline(StandardScaler(), regression)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # counted in the audit instead
            model.fit(values.astype(np.float64), label)
        return model, bool((model[-1].n_iter_ < self.max_iterations).all())


def _predict(model: Any, values: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, " m"]:
    if isinstance(model, int):
        return np.full(len(values), model, dtype=np.int64)
    return np.asarray(model.predict(values.astype(np.float64)), dtype=np.int64)
