"""Baselines and intervals agree with the metrics of evaluations and with scipy."""

import numpy as np
import pytest
from scipy import stats

from surgrec import scores
from surgrec.audit import _sizes, audit_split
from tests.support.splits import clean_split, clip_name, split_of


def test_baselines_are_those_of_the_metrics_of_evaluations() -> None:
    parts = clean_split()
    parts["train"] += [(clip_name(case, "access", 90), "0") for case in range(1, 8)]
    parts["test"] += [(clip_name(case, "closure", 90), "1") for case in range(41, 46)]
    parts["test"] += [(clip_name(case, "suture", 120), "5") for case in range(41, 46)]

    label = np.array([int(value) for _, value in parts["test"]])
    truth = scores.GroundTruth(case=np.zeros_like(label), label=label, num_cases=1, num_classes=6)
    train = np.bincount([int(value) for _, value in parts["train"]], minlength=6)
    shares = {"majority": np.eye(6)[0], "prior": train / train.sum()}

    for row in audit_split(split_of(parts)).baselines:
        expected = scores.expected_counts(truth, shares[row.name]).scores(np.ones((1, 1)))
        assert row.accuracy == pytest.approx(expected["accuracy"][0])
        assert row.balanced_accuracy == pytest.approx(expected["balanced_accuracy"][0])
        assert row.macro_f1 == pytest.approx(expected["macro_f1"][0])


@pytest.mark.parametrize("trials", [2, 12, 40, 1000])
def test_the_interval_is_that_of_scipy(trials: int) -> None:
    interval = stats.binomtest(trials // 2, trials).proportion_ci(0.95, method="wilson")
    assert _sizes.half_width(trials) == pytest.approx((interval.high - interval.low) / 2)


def test_verdicts_need_as_many_cases_as_in_evaluations() -> None:
    assert (_sizes.MIN_CASES, _sizes.LEVEL) == (scores.MIN_CASES, scores.LEVEL)
