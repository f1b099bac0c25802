"""Scores of predictions against scikit-learn, and their weights per case."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    jaccard_score,
    precision_score,
    recall_score,
)
from sklearn.metrics import confusion_matrix as sklearn_confusion

from surgrec.scores import (
    METRICS,
    GroundTruth,
    class_table,
    confusion_matrix,
    count_predictions,
    expected_counts,
)
from surgrec.scores.classification import NO_CLASS
from tests.support.made_up import CLASSES, made_up, once


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@given(st.integers(0, 2**32 - 1))
def test_scores_equal_scikit_learn(seed: int) -> None:
    truth, predicted = made_up(seed)
    present = sorted(set(truth.label.tolist()))
    by_case = [
        accuracy_score(truth.label[rows], predicted[rows])
        for rows in (truth.case == c for c in range(5))
    ]
    assert once(truth, predicted) == pytest.approx(
        {
            "macro_f1": f1_score(
                truth.label, predicted, labels=present, average="macro", zero_division=0
            ),
            "balanced_accuracy": balanced_accuracy_score(truth.label, predicted),
            "accuracy": accuracy_score(truth.label, predicted),
            "case_accuracy": np.mean(by_case),
        }
    )


@given(st.integers(0, 2**32 - 1))
def test_the_weight_of_a_case_counts_as_copies_of_its_windows(seed: int) -> None:
    truth, predicted = made_up(seed)
    times = np.random.default_rng(seed).integers(3, size=truth.num_cases)
    times[0] += 1
    kept = np.repeat(np.arange(len(predicted)), times[truth.case])
    copy = np.concatenate([np.arange(times[case]) for case in truth.case])
    # Each copy becomes a separate case.
    repeated = np.unique(truth.case[kept] * 10 + copy, return_inverse=True)[1]
    copied = GroundTruth(
        case=repeated, label=truth.label[kept], num_cases=int(times.sum()), num_classes=CLASSES
    )
    weighted = count_predictions(truth, predicted).scores(times[None, :].astype(np.float64))
    assert {m: float(v[0]) for m, v in weighted.items()} == pytest.approx(
        once(copied, predicted[kept])
    )


def test_means_skip_an_absent_class_and_its_prediction_is_an_error() -> None:
    truth = GroundTruth(
        case=np.array([0, 0, 1]), label=np.array([0, 0, 1]), num_cases=2, num_classes=3
    )
    assert once(truth, np.array([0, 2, 1])) == pytest.approx(
        {
            "macro_f1": (2 / 3 + 1) / 2,
            "balanced_accuracy": 0.75,
            "accuracy": 2 / 3,
            "case_accuracy": 0.75,
        }
    )
    only_second_case = count_predictions(truth, np.array([0, 2, 1])).scores(np.array([[0.0, 2.0]]))
    assert {metric: values.tolist() for metric, values in only_second_case.items()} == {
        m: [1.0] for m in METRICS
    }


def test_perfect_predictions_score_one_and_wrong_ones_zero() -> None:
    truth, _ = made_up(0)
    assert set(once(truth, truth.label).values()) == {1.0}
    assert set(once(truth, (truth.label + 1) % CLASSES).values()) == {0.0}


def test_the_prior_scores_the_average_of_random_draws() -> None:
    truth, _ = made_up(1, windows=4000)
    share = np.array([0.1, 0.2, 0.3, 0.4])
    expected = expected_counts(truth, share).scores(np.ones((1, truth.num_cases)))
    rng = np.random.default_rng(0)
    draws = [once(truth, rng.choice(CLASSES, size=4000, p=share)) for _ in range(200)]
    for metric in METRICS:
        assert expected[metric][0] == pytest.approx(
            np.mean([draw[metric] for draw in draws]), abs=0.003
        )


@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_the_table_of_classes_equals_scikit_learn(seed: int) -> None:
    truth, predicted = made_up(seed)
    rows = class_table(count_predictions(truth, predicted))
    functions = {
        "precision": precision_score,
        "recall": recall_score,
        "jaccard": jaccard_score,
        "f1": f1_score,
    }
    for name, function in functions.items():
        values = function(
            truth.label, predicted, labels=range(CLASSES), average=None, zero_division=0
        )
        for row, value in zip(rows, values, strict=True):
            expected = value if row.labeled else np.nan
            assert getattr(row, name) == pytest.approx(expected, nan_ok=True)
    assert sum(row.labeled for row in rows) == sum(row.predicted for row in rows) == 60
    assert (
        confusion_matrix(truth.label, predicted, CLASSES)
        == sklearn_confusion(truth.label, predicted, labels=range(CLASSES))
    ).all()


def test_a_prediction_of_no_class_is_wrong_and_of_no_other_class() -> None:
    label = np.array([0, 0, 1, 1])
    truth = GroundTruth(case=np.array([0, 0, 0, 1]), label=label, num_cases=2, num_classes=2)
    counts = count_predictions(truth, np.array([0, NO_CLASS, 1, NO_CLASS]))
    assert counts.predicted.sum(0).tolist() == [1, 1]
    assert counts.labeled.sum(0).tolist() == [2, 2]
    scores = counts.scores(np.ones((1, 2)))
    assert scores["accuracy"] == 0.5
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    matrix = confusion_matrix(label, np.array([0, NO_CLASS, 0, 1]), 2)
    assert matrix.tolist() == [[1, 0], [1, 1]]
