import numpy as np
import pytest

from surgrec.evaluation.bootstrap import Interval, case_weights, interval
from surgrec.evaluation.scores import count, score
from tests.support.made_up import made_up, once


def test_every_resample_has_as_many_cases_as_there_are() -> None:
    weights = case_weights(7, resamples=500)
    assert weights.shape == (501, 7)
    assert weights[0].tolist() == [1.0] * 7
    assert set(weights.sum(axis=1)) == {7.0}
    assert weights[1:].mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)


def test_the_same_seed_gives_the_same_resamples() -> None:
    assert (case_weights(9, seed=1) == case_weights(9, seed=1)).all()
    assert (case_weights(9, seed=1) != case_weights(9, seed=2)).any()


def test_intervals_are_those_of_a_plain_bootstrap_that_gathers_windows() -> None:
    answers, predicted = made_up(5, windows=90, cases=8)
    weights = case_weights(8, resamples=120)
    plain = []
    for times in weights[1:].astype(int):
        drawn = np.repeat(np.arange(8), times)
        windows = np.concatenate([np.flatnonzero(answers.case == case) for case in drawn])
        truth, guess = answers.label[windows], predicted[windows]
        f1 = []
        for value in set(truth.tolist()):
            hits = ((truth == value) & (guess == value)).sum()
            f1.append(2 * hits / ((truth == value).sum() + (guess == value).sum()))
        plain.append(np.mean(f1))
    found = interval(score(count(answers, predicted), weights)["macro_f1"])
    assert found.value == pytest.approx(once(answers, predicted)["macro_f1"])
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])))
    assert found.low < found.value < found.high


def test_cases_that_are_all_alike_leave_no_doubt() -> None:
    found = interval(np.full(2001, 0.25))
    assert (found.low, found.value, found.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.01, 0.2, "better"),
        (-0.1, 0.2, "not shown"),
        (0.0, 0.2, "not shown"),
        (-0.2, -0.01, "worse"),
    ],
)
def test_a_difference_counts_when_its_interval_leaves_out_zero(
    low: float, high: float, verdict: str
) -> None:
    assert Interval(value=(low + high) / 2, low=low, high=high).verdict == verdict
