"""Verdicts: trained against random weights."""

import numpy as np
import pytest

from surgrec.evaluation import PROBES
from surgrec.evaluation._results import Prediction
from surgrec.evaluation._verdicts import compare
from surgrec.scores import MIN_CASES, GroundTruth


def verdicts(num_cases: int, trained_accuracy: float) -> list[str]:
    """Return the verdicts on predictions of this accuracy; random weights have accuracy 1/3."""
    rng = np.random.default_rng(0)
    case = np.repeat(np.arange(num_cases), 20)
    label = rng.integers(0, 3, len(case))

    def guess(accuracy: float) -> np.ndarray:
        wrong = (label + rng.integers(1, 3, len(case))) % 3
        return np.where(rng.random(len(case)) < accuracy, label, wrong)

    predictions = [
        Prediction(features=features, seed=seed, classifier=probe.name, label=guess(accuracy))
        for probe in PROBES
        for features, seed, accuracy in (
            ("trained", 0, trained_accuracy),
            *(("random", seed, 1 / 3) for seed in range(3)),
        )
    ]
    always_first = np.zeros(len(case), dtype=np.int64)
    predictions.append(
        Prediction(features="none", seed=0, classifier="majority", label=always_first)
    )
    truth = GroundTruth(case=case, label=label, num_cases=num_cases, num_classes=3)
    rows = compare(truth, predictions, np.full(3, 1 / 3))[1]
    assert [row["primary"] for row in rows] == [True, False]
    return [row["verdict"] for row in rows]


@pytest.mark.parametrize(
    ("accuracy", "verdict"), [(0.7, "better"), (0.1, "worse"), (1 / 3, "not shown")]
)
def test_a_difference_over_many_cases_has_a_verdict(accuracy: float, verdict: str) -> None:
    assert verdicts(24, accuracy)[0] == verdict


def test_few_cases_show_nothing_even_for_a_large_difference() -> None:
    assert verdicts(MIN_CASES - 1, 0.9) == ["not shown", "not shown"]
    assert verdicts(MIN_CASES, 0.9) == ["better", "better"]
