import numpy as np
import pytest

from surgrec.evaluation.results import Prediction
from surgrec.evaluation.scores import Answers
from surgrec.evaluation.verdicts import MIN_CASES, compare


def verdicts(num_cases: int, trained_is_right: float) -> list[str]:
    """What is said of features that are right on this share of windows, beside random ones that are on a third of them."""
    rng = np.random.default_rng(0)
    case = np.repeat(np.arange(num_cases), 20)
    label = rng.integers(0, 3, len(case))

    def guess(share: float) -> np.ndarray:
        return np.where(
            rng.random(len(case)) < share, label, (label + rng.integers(1, 3, len(case))) % 3
        )

    predictions = [
        Prediction(features=features, seed=seed, classifier=classifier, label=guess(share))
        for classifier in ("knn", "logistic")
        for features, seed, share in (
            ("trained", 0, trained_is_right),
            *(("random", seed, 1 / 3) for seed in range(3)),
        )
    ]
    predictions.append(
        Prediction(
            features="none",
            seed=0,
            classifier="majority",
            label=np.zeros(len(case), dtype=np.int64),
        )
    )
    answers = Answers(case=case, label=label, num_cases=num_cases, num_classes=3)
    rows = compare(answers, predictions, np.full(3, 1 / 3))[1]
    assert [row["primary"] for row in rows] == [True, False]
    return [row["verdict"] for row in rows]


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.7, "better"), (0.1, "worse"), (1 / 3, "not shown")]
)
def test_a_difference_over_many_cases_has_a_verdict(right: float, verdict: str) -> None:
    assert verdicts(24, right)[0] == verdict


def test_over_few_cases_nothing_is_shown_however_large_the_difference() -> None:
    assert verdicts(MIN_CASES - 1, 0.9) == ["not shown", "not shown"]
    assert verdicts(MIN_CASES, 0.9) == ["better", "better"]
