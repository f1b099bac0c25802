"""Classifiers on frozen features: the nearest neighbors, a logistic regression, and the most frequent label."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation.probes.knn import knn_scores
from surgrec.evaluation.scores import PRIMARY, Answers, count, score

NEIGHBORS = 20
TEMPERATURE = 0.07
"""Of the neighbors' votes, with `NEIGHBORS` as in DINO (Caron et al. 2021, arXiv:2104.14294, section 4.1)."""
C_GRID = (0.001, 0.01, 0.1, 1.0, 10.0)
"""Inverse strengths of the L2 penalty."""
FOLDS = 5
MAX_ITERATIONS = 1000


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures:
    """Train windows as a classifier sees them."""

    values: Float32[np.ndarray, "n d"]
    label: Int64[np.ndarray, " n"]
    """In [0, num_classes)."""
    case: Int64[np.ndarray, " n"]
    """Windows of one case have one number."""
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class LogisticPredictions:
    """What a logistic regression says, and how it came about."""

    label: Int64[np.ndarray, " m"]
    c: float
    """Chosen from `C_GRID`."""
    converged: bool


def majority_prediction(
    labels: Int64[np.ndarray, " n"], num_windows: int
) -> Int64[np.ndarray, " m"]:
    """The most frequent of the train labels for every window; the first of equally frequent ones."""
    return np.full(num_windows, np.bincount(labels).argmax(), dtype=np.int64)


def knn_predictions(
    train: LabeledFeatures, test: Float32[np.ndarray, "m d"]
) -> Int64[np.ndarray, " m"]:
    """The label with most votes of the nearest train windows.

    Features are standardized on the train windows first: what all windows have in common would otherwise make up most of
    the cosine, and differ between encoders for no reason.
    """
    scaler = StandardScaler().fit(train.values.astype(np.float64))
    votes = knn_scores(
        torch.from_numpy(scaler.transform(train.values).astype(np.float32)),
        torch.from_numpy(train.label),
        torch.from_numpy(scaler.transform(test).astype(np.float32)),
        num_classes=train.num_classes,
        k=NEIGHBORS,
        temperature=TEMPERATURE,
    )
    return np.asarray(votes.argmax(dim=1).numpy())


def logistic_predictions(
    train: LabeledFeatures, test: Float32[np.ndarray, "m d"]
) -> LogisticPredictions:
    """The labels that a logistic regression gives, its penalty chosen on held-out train cases."""
    c = choose_c(train)
    model, converged = _fit(train.values, train.label, c)
    return LogisticPredictions(label=_predict(model, test), c=c, converged=converged)


def choose_c(train: LabeledFeatures) -> float:
    """The strongest penalty among those with the best primary score over held-out folds of train cases."""
    cases = np.unique(train.case, return_inverse=True)[1]
    num_cases = int(cases.max()) + 1
    answers = Answers(
        case=cases, label=train.label, num_cases=num_cases, num_classes=train.num_classes
    )
    folds = list(GroupKFold(n_splits=min(FOLDS, num_cases)).split(train.values, groups=cases))
    found = []
    for c in C_GRID:
        predicted = np.empty_like(train.label)
        for fitted, held_out in folds:
            model, _ = _fit(train.values[fitted], train.label[fitted], c)
            predicted[held_out] = _predict(model, train.values[held_out])
        found.append(float(score(count(answers, predicted), np.ones((1, num_cases)))[PRIMARY][0]))
    return C_GRID[int(np.argmax(found))]


def _fit(
    values: Float32[np.ndarray, "n d"], label: Int64[np.ndarray, " n"], c: float
) -> tuple[Any, bool]:
    """A fitted pipeline (or the one label that there is), and whether it converged."""
    if len(np.unique(label)) == 1:  # a fold may hold a single class, which sklearn refuses
        return int(label[0]), True
    model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=MAX_ITERATIONS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # counted, and told in the audit
        model.fit(values.astype(np.float64), label)
    return model, bool((model[-1].n_iter_ < MAX_ITERATIONS).all())


def _predict(model: Any, values: Float32[np.ndarray, "m d"]) -> Int64[np.ndarray, " m"]:
    if isinstance(model, int):
        return np.full(len(values), model, dtype=np.int64)
    return np.asarray(model.predict(values.astype(np.float64)), dtype=np.int64)
