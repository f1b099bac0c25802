"""Principal components that are fitted on the train windows alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation.pixels import reduced
from surgrec.evaluation.probes import LabeledFeatures
from surgrec.evaluation.probes.components import principal_components


def values(rows: int, seed: int) -> torch.Tensor:
    """Return 12 features that vary in five directions, and one that is constant."""
    rng = np.random.default_rng(seed)
    mixed = (
        rng.normal(size=(rows, 5)) * [5, 4, 3, 2, 1] @ np.random.default_rng(0).normal(size=(5, 12))
    )
    return torch.from_numpy(np.c_[mixed, np.full(rows, 0.5)].astype(np.float32))


def part(rows: int, seed: int) -> LabeledFeatures:
    numbers = np.arange(rows)
    return LabeledFeatures(
        values=values(rows, seed),
        video=numbers,
        time_s=numbers.astype(np.float64),
        label=numbers % 2,
        case=numbers,
        num_classes=2,
    )


@pytest.mark.parametrize("rows", [200, 9])
def test_components_are_those_of_scikit_learn_up_to_their_sign(rows: int) -> None:
    train, test = values(rows, 1), values(50, 2)
    found = principal_components(3, train, test)
    scaler = StandardScaler().fit(train.double())
    model = PCA(3).fit(scaler.transform(train.double()))
    for each, given in zip(found, (train, test), strict=True):
        expected = np.abs(model.transform(scaler.transform(given.double())))
        np.testing.assert_allclose(each.abs(), expected, atol=1e-4)


def test_directions_in_which_the_train_windows_do_not_vary_are_left_out() -> None:
    (few,) = principal_components(64, values(9, 1))
    assert few.shape == (9, 5)
    train, test = principal_components(64, values(200, 1), values(50, 2))
    assert (train.shape, test.shape) == ((200, 5), (50, 5))
    for width in (4, 40):
        (constant,) = principal_components(64, torch.ones(9, width))
        assert constant.shape == (9, 1)
        assert constant.abs().max() == 0


def test_components_depend_on_train_windows_only() -> None:
    train, test, val = part(100, 1), part(40, 2), part(40, 3)
    expected = reduced((train, test, val))
    other = reduced((train, replace(test, values=test.values * 9 + 4), None))
    assert torch.equal(expected[0].values, other[0].values)
    assert other[2] is None
    assert expected[2] is not None
    assert expected[2].values.shape == (40, 5)
    assert not torch.equal(expected[0].values, reduced((part(100, 5), test, val))[0].values)
