"""Bootstrap over cases: resamples and intervals."""

import numpy as np
import pytest

from surgrec.scores import case_weights, count_predictions, estimate
from surgrec.scores.intervals import draw_seeds, resample, spread
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

    result = estimate(count_predictions(truth, predicted).scores(weights)["macro_f1"], 8)
    assert result.value == pytest.approx(once(truth, predicted)["macro_f1"])
    # 2.528 standard deviations: t of 7 degrees of freedom, and 8/7 of the variance.
    tail = 0.5736
    assert (result.low, result.high) == pytest.approx(
        tuple(np.percentile(plain, [tail, 100 - tail])), abs=1e-4
    )
    assert result.low < result.value < result.high


def test_cases_with_equal_scores_give_an_interval_of_width_zero() -> None:
    result = estimate(np.full(2001, 0.25), 12)
    assert (result.low, result.value, result.high) == (0.25, 0.25, 0.25)


def test_undefined_scores_of_resamples_are_left_out() -> None:
    values = np.array([0.5, np.nan, 0.4, 0.6, np.nan])
    result = estimate(values, 10)
    assert 0.4 <= result.low < result.high <= 0.6
    alone = estimate(values, 1)
    assert alone.value == 0.5
    assert np.isnan([alone.low, alone.high]).all()


CENTERS = ["a"] * 6 + ["b"] * 2 + ["c"] * 4
PATIENTS = ["1", "1", "1", "2", "2", "3", "1", "2", "1", "1", "2", "2"]


def test_centers_are_drawn_first_and_their_cases_together() -> None:
    drawn = resample([CENTERS], 12, resamples=4000)
    assert drawn.num_units == 3
    assert drawn.weights[0].tolist() == [1.0] * 12
    # A test set without a center has none of its cases: (2/3)^3 of the test sets.
    absent = (drawn.weights[1:, :6].sum(1) == 0).mean()
    assert absent == pytest.approx((2 / 3) ** 3, abs=0.03)
    # A center that is drawn once gives as many cases as it has.
    sizes = {float(total) for total in drawn.weights[1:, 6:8].sum(1)}
    assert sizes == {0.0, 2.0, 4.0, 6.0}
    assert drawn.weights[1:].mean(0) == pytest.approx(np.ones(12), abs=0.12)


def test_patients_of_one_name_in_two_centers_are_two() -> None:
    drawn = resample([CENTERS, PATIENTS], 12, resamples=4000)
    assert drawn.num_units == 3
    # Test sets with center b once: its patients 1 and 2 have one case each.
    once = drawn.weights[1:][drawn.weights[1:, 6:8].sum(1) == 2]
    assert {tuple(row) for row in once[:, 6:8].tolist()} == {(2.0, 0.0), (1.0, 1.0), (0.0, 2.0)}
    assert drawn.weights[1:].mean(0) == pytest.approx(np.ones(12), abs=0.15)


def test_the_only_center_is_not_drawn_but_its_patients_are() -> None:
    drawn = resample([["a"] * 12, PATIENTS], 12)
    assert drawn.num_units == 3
    only_cases = resample([["a"] * 12], 12)
    assert only_cases.num_units == 12
    assert (only_cases.weights == case_weights(12)).all()


def test_similar_cases_of_a_center_widen_the_interval() -> None:
    scores = np.repeat([0.5, 0.6, 0.7, 0.8], 10)
    centers = np.repeat(["a", "b", "c", "d"], 10).tolist()
    wide, narrow = (
        estimate(drawn.weights @ scores / drawn.weights.sum(1), drawn.num_units)
        for drawn in (resample([centers], 40), resample([], 40))
    )
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)


def test_the_spread_leaves_out_undefined_scores_and_needs_two() -> None:
    assert spread([0.4, float("nan"), 0.8]) == pytest.approx(np.std([0.4, 0.8], ddof=1))
    assert np.isnan(spread([0.4, float("nan")]))


def test_means_of_drawn_seeds_vary_as_means_of_new_seeds_do() -> None:
    values = np.array([0.1, 0.4, 0.6, 0.7])
    means = draw_seeds(np.repeat(values[:, None], 200_001, axis=1))
    assert means[0] == pytest.approx(values.mean())
    assert means[1:].mean() == pytest.approx(values.mean(), abs=0.002)
    assert means[1:].var() == pytest.approx(values.var(ddof=1) / len(values), rel=0.02)


def test_drawn_seeds_keep_the_scores_of_their_test_set() -> None:
    scores = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    assert draw_seeds(scores).tolist() == [0.0, 1.0, 2.0]


def test_one_seed_does_not_show_how_seeds_vary() -> None:
    means = draw_seeds(np.array([[0.3, 0.2, 0.4]]))
    assert means[0] == 0.3
    assert np.isnan(means[1:]).all()
