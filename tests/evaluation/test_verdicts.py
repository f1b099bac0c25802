"""Verdicts: trained against random weights."""

import numpy as np
import pytest

from surgrec.evaluation._predictions import FeaturesKind, ScoredRow
from surgrec.evaluation._verdicts import compare
from surgrec.scores import METRICS, MIN_CASES, PRIMARY, GroundTruth, case_weights, count_predictions
from surgrec.scores.units import Units


def verdicts(num_cases: int, trained_accuracy: float) -> list[str]:
    """Return the verdicts on predictions of this accuracy; random weights have accuracy 1/3."""
    rng = np.random.default_rng(0)
    case = np.repeat(np.arange(num_cases), 20)
    label = rng.integers(0, 3, len(case))

    def guess(accuracy: float) -> np.ndarray:
        wrong = (label + rng.integers(1, 3, len(case))) % 3
        return np.where(rng.random(len(case)) < accuracy, label, wrong)

    truth = GroundTruth(case=case, label=label, num_cases=num_cases, num_classes=3)

    def row(features: FeaturesKind, classifier: str, accuracies: list[float]) -> ScoredRow:
        tables = [count_predictions(truth, guess(accuracy)) for accuracy in accuracies]
        return ScoredRow(
            features=features,
            classifier=classifier,
            tables=tables,
            paired=tables,
            seeds=[(seed, 0) for seed in range(len(accuracies))],
            degenerate=False,
        )

    rows = [row("trained", name, [trained_accuracy]) for name in ("first", "second")]
    rows += [row("random", name, [1 / 3] * 3) for name in ("first", "second")]
    rows += [row("none", "majority", [1 / 3])]
    units = Units(weights=case_weights(num_cases), of_case=np.arange(num_cases), name="cases")
    scores, verdicts = compare(
        rows, units, metrics=METRICS, primary=PRIMARY, primary_classifier="first"
    )
    assert [score["seeds"] for score in scores] == [1, 1, 3, 3, 1]
    whole = np.ones((1, num_cases))
    by_seed = [float(each.scores(whole)["macro_f1"][0]) for each in rows[2].tables]
    assert scores[2]["seed_std"]["macro_f1"] == pytest.approx(np.std(by_seed, ddof=1))
    assert scores[0]["seed_std"] == {}, "one seed has no spread"
    assert [each["primary"] for each in verdicts] == [True, False], "baselines have none"
    return [each["verdict"] for each in verdicts]


@pytest.mark.parametrize(
    ("accuracy", "verdict"), [(0.7, "better"), (0.1, "worse"), (1 / 3, "not shown")]
)
def test_a_difference_over_many_cases_has_a_verdict(accuracy: float, verdict: str) -> None:
    assert verdicts(24, accuracy)[0] == verdict


def test_few_cases_show_nothing_even_for_a_large_difference() -> None:
    assert verdicts(MIN_CASES - 1, 0.9) == ["not shown", "not shown"]
    assert verdicts(MIN_CASES, 0.9) == ["better", "better"]
