"""Average precision of several labels at a time and of triplets, and scores of numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, mean_absolute_error, root_mean_squared_error

from surgrec.scores import case_weights
from surgrec.scores.multilabel import LabelSets
from surgrec.scores.regression import Numbers
from surgrec.scores.triplets import Triplet, score_triplets


def label_sets(seed: int, windows: int = 60, cases: int = 4, classes: int = 3) -> LabelSets:
    rng = np.random.default_rng(seed)
    label = rng.random((windows, classes)) < 0.3
    label[0] = True
    score = np.round(rng.random((windows, classes)) + label * 0.3, 1)  # many equal scores
    case = np.concatenate([np.arange(cases), rng.integers(cases, size=windows - cases)])
    return LabelSets(case=case, label=label, score=score, num_cases=cases)


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1))
def test_map_equals_scikit_learn_with_equal_scores_and_copies_of_cases(seed: int) -> None:
    sets = label_sets(seed)
    times = np.random.default_rng(seed).integers(0, 3, sets.num_cases)
    times[sets.case[0]] = 1
    kept = np.repeat(np.arange(len(sets.case)), times[sets.case])

    found = sets.scores(np.stack([np.ones(4), times]).astype(float))["map"]
    assert found[0] == pytest.approx(average_precision_score(sets.label, sets.score))
    assert found[1] == pytest.approx(average_precision_score(sets.label[kept], sets.score[kept]))


def test_a_class_without_a_positive_is_left_out_and_counted() -> None:
    sets = label_sets(1)
    empty = LabelSets(
        case=sets.case,
        label=np.concatenate([sets.label, np.zeros((60, 1), dtype=bool)], 1),
        score=np.concatenate([sets.score, np.ones((60, 1))], 1),
        num_cases=4,
    )
    once = np.ones((1, 4))
    assert empty.absent_classes == 1
    assert np.isnan(empty.class_precision(once)[0, 3])
    assert empty.scores(once)["map"] == pytest.approx(sets.scores(once)["map"])
    assert empty.scores(once)["case_map"] == pytest.approx(sets.scores(once)["case_map"])


CLASSES = [
    Triplet("grasper", "retract", "liver"),
    Triplet("grasper", "retract", "omentum"),
    Triplet("hook", "dissect", "liver"),
    Triplet("hook", "null_verb", "null_target"),
]


def test_triplets_equal_hand_computed_values() -> None:
    # One video of three frames.
    label = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)
    score = np.array([[0.9, 0.1, 0.2, 0.3], [0.8, 0.2, 0.7, 0.4], [0.1, 0.3, 0.4, 0.2]])
    table = score_triplets(
        label, score, video=np.zeros(3, int), case=np.zeros(1, int), classes=CLASSES
    )
    found = {name: float(v[0]) for name, v in table.scores(np.ones((1, 1))).items()}
    # Average precision of the triplets: 1; 1; 1; the last frame ranks third for null: 1/3.
    assert found["ap_ivt"] == pytest.approx((1 + 1 + 1 + 1 / 3) / 4)
    assert found["ap_ivt_ignore_null"] == 1.0
    # Grasper, in frames 0 and 2, scores 0.9, 0.8, 0.3: (1 + 2/3) / 2. Hook, in 1 and 2: 0.7, 0.4.
    assert found["ap_i"] == pytest.approx((5 / 6 + 1) / 2)


def test_a_video_without_a_class_does_not_count_for_it() -> None:
    label = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 0]], dtype=bool)
    score = np.array([[0.9, 0, 0.2, 0], [0.1, 0, 0.1, 0], [0.5, 0, 0, 0], [0.5, 0, 0, 0]])
    table = score_triplets(
        label, score, video=np.array([0, 0, 1, 1]), case=np.array([0, 1]), classes=CLASSES
    )
    found = table.scores(np.array([[1.0, 1.0], [0.0, 2.0]]))["ap_ivt"]
    # Class 0: 1 in both videos. Class 2: 0.5 in the first video only; absent from the second.
    assert found.tolist() == pytest.approx([(1 + 0.5) / 2, 1.0])


@settings(max_examples=12)
@given(st.integers(0, 2**32 - 1))
def test_scores_of_numbers_equal_scipy_and_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    case = np.repeat(np.arange(10), 3)
    value = np.round(rng.normal(size=30), 0)  # many equal numbers
    predicted = np.round(value + rng.normal(size=30), 1)
    numbers = Numbers(case=case, value=value, predicted=predicted, num_cases=10)
    weights = case_weights(10, resamples=3, seed=seed % 1000)
    found = numbers.scores(weights)
    for row, times in enumerate(weights.astype(int)):
        kept = np.repeat(np.arange(30), times[case])
        one, other = value[kept], predicted[kept]
        assert found["spearman"][row] == pytest.approx(stats.spearmanr(one, other).statistic)
        assert found["mae"][row] == pytest.approx(mean_absolute_error(one, other))
        assert found["rmse"][row] == pytest.approx(root_mean_squared_error(one, other))


def test_a_constant_prediction_has_no_rank_correlation() -> None:
    numbers = Numbers(
        case=np.arange(12), value=np.arange(12.0), predicted=np.full(12, 3.3), num_cases=12
    )
    found = numbers.scores(np.ones((1, 12)))
    assert np.isnan(found["spearman"][0])
    assert found["mae"][0] == pytest.approx(np.abs(np.arange(12) - 3.3).mean())
