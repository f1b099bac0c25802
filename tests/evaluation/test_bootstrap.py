"""Bootstrap over cases: resamples and intervals."""

import numpy as np
import pytest

from surgrec.evaluation._bootstrap import case_weights, estimate
from surgrec.evaluation._scores import count_predictions, score
from tests.support.made_up import made_up, once


def test_every_resample_has_the_number_of_cases() -> None:
    weights = case_weights(7, resamples=500)
    assert weights.shape == (501, 7)
    assert weights[0].tolist() == [1.0] * 7
    assert set(weights.sum(axis=1)) == {7.0}
    assert weights[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_the_same_seed_gives_the_same_resamples() -> None:
    assert (case_weights(9, seed=1) == case_weights(9, seed=1)).all()
    assert (case_weights(9, seed=1) != case_weights(9, seed=2)).any()


def test_intervals_equal_a_direct_bootstrap_that_gathers_windows() -> None:
    truth, predicted = made_up(5, windows=90, cases=8)
    weights = case_weights(8, resamples=120)

    plain = []
    for times in weights[1:].astype(int):
        drawn = np.repeat(np.arange(8), times)
        windows = np.concatenate([np.flatnonzero(truth.case == case) for case in drawn])
        label, guess = truth.label[windows], predicted[windows]
        f1 = []
        for value in set(label.tolist()):
            correct = ((label == value) & (guess == value)).sum()
            f1.append(2 * correct / ((label == value).sum() + (guess == value).sum()))
        plain.append(np.mean(f1))

    result = estimate(score(count_predictions(truth, predicted), weights)["macro_f1"])
    assert result.value == pytest.approx(once(truth, predicted)["macro_f1"])
    assert (result.low, result.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    assert result.low < result.value < result.high


def test_cases_with_equal_scores_give_an_interval_of_width_zero() -> None:
    result = estimate(np.full(2001, 0.25))
    assert (result.low, result.value, result.high) == (0.25, 0.25, 0.25)
