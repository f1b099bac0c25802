"""The regressions of a grid against scikit-learn's, fitted one after the other."""

import numpy as np
import pytest
import torch
from sklearn import linear_model
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation.probes.lbfgs import Evaluated, minimize
from surgrec.evaluation.probes.softmax_regression import SoftmaxHeads, fit_softmax

GRID = (0.001, 0.1, 10.0)


def correlated(num_classes: int, rows: int = 300, width: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Return features of mean 0 and variance 1 that share few factors, and labels."""
    rng = np.random.default_rng(num_classes)
    label = rng.integers(0, num_classes, rows)
    factors = rng.normal(size=(rows, 8))
    factors[:, :num_classes] += np.eye(num_classes)[label]
    values = factors @ rng.normal(size=(8, width)) + 0.1 * rng.normal(size=(rows, width))
    return ((values - values.mean(0)) / values.std(0)).astype(np.float32), label


def fit(values: np.ndarray, label: np.ndarray, folds: np.ndarray, num_classes: int) -> SoftmaxHeads:
    tensors = (torch.from_numpy(each) for each in (values, label, folds))
    return fit_softmax(*tensors, GRID, num_classes=num_classes)


@pytest.mark.parametrize("num_classes", [2, 3, 7])
def test_each_head_is_the_regression_of_scikit_learn(num_classes: int) -> None:
    values, label = correlated(num_classes)
    folds = np.stack([np.arange(300) % 3 != fold for fold in range(3)])
    heads = fit(values, label, folds, num_classes)
    assert bool(heads.converged.all())

    for fold, fitted in enumerate(folds):
        scaler = StandardScaler().fit(values[fitted].astype(np.float64))
        scaled = scaler.transform(values.astype(np.float64))
        for index, c in enumerate(GRID):
            model = linear_model.LogisticRegression(C=c, max_iter=10_000, tol=1e-8)
            expected = model.fit(scaled[fitted], label[fitted]).predict_proba(scaled)
            found = heads.probability(torch.from_numpy(values), fold, index).numpy()
            assert np.abs(found - expected).max() < 1e-3

            losses = -np.log(expected[fitted, label[fitted]])
            objective = losses.mean() + np.square(model.coef_).sum() / (2 * c * fitted.sum())
            assert float(heads.objective[fold, index]) == pytest.approx(objective, abs=1e-6)


def test_a_fold_predicts_only_classes_that_it_has_fitted() -> None:
    values, label = correlated(3)
    folds = np.stack([label != 2, label == 1, np.ones(300, dtype=bool)])
    heads = fit(values, label, folds, 3)
    assert bool(heads.converged.all())
    two, one, every = (heads.probability(torch.from_numpy(values), fold, 1) for fold in range(3))
    assert two[:, 2].max() == 0
    assert one[:, 1].min() == 1
    assert set(every.argmax(1).tolist()) == {0, 1, 2}

    # Two fitted classes have scikit-learn's objective of two classes.
    fitted = label != 2
    scaler = StandardScaler().fit(values[fitted].astype(np.float64))
    model = linear_model.LogisticRegression(C=GRID[1], max_iter=10_000, tol=1e-8)
    model.fit(scaler.transform(values[fitted].astype(np.float64)), label[fitted])
    expected = model.predict_proba(scaler.transform(values.astype(np.float64)))
    assert np.abs(two[:, :2].numpy() - expected).max() < 1e-3


def test_a_feature_that_is_constant_within_a_fold_does_no_harm() -> None:
    values, label = correlated(3)
    folds = np.stack([np.arange(300) < 200, np.ones(300, dtype=bool)])
    values[:, 0] = np.where(folds[0], 0.0, 1.5)
    heads = fit(values, label, folds, 3)
    assert bool(heads.converged.all())
    assert heads.weight[0, :, 0].abs().max() < 1e-6
    assert bool(heads.probability(torch.from_numpy(values), 0, 2).isfinite().all())


def test_a_head_does_not_depend_on_the_others_of_its_batch() -> None:
    values, label = correlated(3)
    folds = np.stack([np.arange(300) % 3 != fold for fold in range(3)])
    together = fit(values, label, folds, 3)
    alone = fit(values, label, folds[1:2], 3)
    difference = (together.weight[1] - alone.weight[0]).abs().max()
    assert float(difference) < 1e-3
    again = fit(values, label, folds, 3)
    assert torch.equal(together.weight, again.weight), "the same inputs give the same bytes"


def test_a_stopped_head_is_not_converged() -> None:
    values, label = correlated(3)
    everything = torch.ones(1, 300, dtype=torch.bool)
    heads = fit_softmax(
        torch.from_numpy(values),
        torch.from_numpy(label),
        everything,
        GRID,
        num_classes=3,
        max_iterations=1,
    )
    assert not bool(heads.converged.any())
    assert heads.iterations == 1


def test_a_head_stops_when_rounding_hides_the_rest_of_the_way() -> None:
    # Two cases that differ far more than the windows of each, as with random weights.
    rng = np.random.default_rng(0)
    case, label = np.repeat([0, 1], 30), np.tile(np.repeat([0, 1], 15), 2)
    values = 2.0 * case[:, None] + 0.01 * (rng.normal(size=(60, 24)) + label[:, None])
    values = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
    folds = np.stack([case == 0, case == 1])

    heads = fit(values, label, folds, 2)
    assert not bool(heads.converged.all()), "the gradient stays above the tolerance"
    assert heads.iterations < 100
    for fold, fitted in enumerate(folds):
        predicted = heads.probability(torch.from_numpy(values), fold, 1).argmax(1).numpy()
        assert (predicted == label)[fitted].mean() > 0.95


def test_steps_that_are_too_long_are_shortened() -> None:
    # Quartic functions of another scale: the first full step increases them.
    scales = torch.tensor([1.0, 30.0, 1e-3], dtype=torch.float64)
    lengths: list[float] = []

    def evaluate(point: torch.Tensor, heads: torch.Tensor) -> Evaluated:
        shifted, scale = point - 2.0, scales[heads]
        gradient = scale[:, None] * (4 * shifted**3 + 2 * shifted)
        value = scale * (shifted**4 + shifted**2).sum(1)
        lengths.append(float(point.abs().max()))
        return Evaluated(
            point=point, value=value, gradient=gradient, error=gradient.abs().amax(1) / scale
        )

    start = torch.full((3, 2), 5.0, dtype=torch.float64)
    minimum = minimize(evaluate, start, tolerance=1e-6, max_iterations=200)
    assert bool(minimum.converged.all())
    assert torch.allclose(minimum.point, torch.full_like(start, 2.0), atol=1e-5)
    assert max(lengths) > 100, "a full step was tried first"
