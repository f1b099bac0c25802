"""The ridge regressions of a grid against scikit-learn's, fitted one after the other."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from surgrec.evaluation.probes.ridge import fit_ridge

GRID = (0.01, 1.0, 100.0, 10_000.0)


@pytest.mark.parametrize(("rows", "width"), [(300, 24), (40, 96)], ids=["many rows", "few rows"])
def test_each_head_is_the_ridge_regression_of_scikit_learn(rows: int, width: int) -> None:
    # Features that share few factors, so that their covariance is close to singular.
    rng = np.random.default_rng(rows)
    factors = rng.normal(size=(rows, 8))
    values = factors @ rng.normal(size=(8, width)) + 0.01 * rng.normal(size=(rows, width))
    values = ((values - values.mean(0)) / values.std(0)).astype(np.float32)
    values[:, 3] = 0.0
    numbers = 50 + factors[:, 0] * 20 + rng.normal(size=rows)
    folds = np.stack([np.arange(rows) % 3 != fold for fold in range(3)] + [np.full(rows, True)])
    heads = fit_ridge(*(torch.from_numpy(each) for each in (values, numbers, folds)), GRID)

    exact = values.astype(np.float64)
    for fold, fitted in enumerate(folds):
        found = heads.predict(torch.from_numpy(values), fold).numpy()
        for index, penalty in enumerate(GRID):
            model = Ridge(alpha=penalty).fit(exact[fitted], numbers[fitted])
            assert np.abs(found[:, index] - model.predict(exact)).max() < 1e-6


def test_features_that_are_all_constant_predict_the_mean() -> None:
    numbers = torch.tensor([1.0, 2.0, 6.0], dtype=torch.float64)
    heads = fit_ridge(torch.zeros(3, 5), numbers, torch.ones(1, 3, dtype=torch.bool), GRID)
    assert heads.predict(torch.ones(2, 5), 0).numpy() == pytest.approx(3.0)
