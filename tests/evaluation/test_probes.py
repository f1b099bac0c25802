import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation.probes.probe import (
    C_GRID,
    LabeledFeatures,
    choose_c,
    knn_predictions,
    logistic_predictions,
    majority_prediction,
)


def blobs(seed: int, windows: int = 240, cases: int = 6, noise: float = 1.0) -> LabeledFeatures:
    """Windows of three classes around three directions, every case with all of them."""
    chance = np.random.default_rng(seed)
    label = np.arange(windows) % 3
    values = np.eye(8)[label] * 3 + chance.normal(size=(windows, 8)) * noise
    case = np.arange(windows) // 3 % cases
    return LabeledFeatures(values=values.astype(np.float32), label=label, case=case, num_classes=3)


def test_both_classifiers_find_what_is_there_to_find() -> None:
    train, test = blobs(0), blobs(1)
    for predicted in (
        knn_predictions(train, test.values),
        logistic_predictions(train, test.values).label,
    ):
        assert (predicted == test.label).mean() > 0.9


def test_what_all_windows_have_in_common_and_the_units_of_a_feature_move_no_neighbor() -> None:
    train, test = blobs(0, noise=3.0), blobs(1, noise=3.0)
    width = train.values.shape[1]
    rng = np.random.default_rng(2)
    scale, shift = (
        rng.uniform(0.1, 9, width).astype(np.float32),
        rng.uniform(-50, 50, width).astype(np.float32),
    )
    moved = LabeledFeatures(
        values=train.values * scale + shift,
        label=train.label,
        case=train.case,
        num_classes=train.num_classes,
    )
    found = knn_predictions(moved, test.values * scale + shift)
    assert (found == knn_predictions(train, test.values)).mean() > 0.99, (
        "but for the rounding of float32"
    )
    assert (found == test.label).mean() > 0.5


def test_the_regression_is_scikit_learn_s_on_features_standardized_by_the_train_windows() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    found = logistic_predictions(train, test.values)
    scaler = StandardScaler().fit(train.values.astype(np.float64))
    model = LogisticRegression(C=found.c, max_iter=1000).fit(
        scaler.transform(train.values), train.label
    )
    assert (found.label == model.predict(scaler.transform(test.values))).all()
    assert found.converged


def test_a_feature_in_other_units_changes_nothing() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    units = np.array([1, 1000, 0.001, 1, 1, 50, 1, 1], dtype=np.float32)
    scaled = LabeledFeatures(
        values=train.values * units, label=train.label, case=train.case, num_classes=3
    )
    same = (
        logistic_predictions(scaled, test.values * units).label
        == logistic_predictions(train, test.values).label
    )
    assert same.mean() > 0.99


def test_the_penalty_is_chosen_by_macro_f1_on_cases_that_were_not_fitted() -> None:
    chosen = set()
    for seed in (2, 3):
        train = blobs(seed, windows=63, cases=7, noise=5.0)
        scores = []
        for c in C_GRID:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
            values, folds = train.values.astype(np.float64), GroupKFold(5)
            held_out = cross_val_predict(model, values, train.label, groups=train.case, cv=folds)
            scores.append(f1_score(train.label, held_out, average="macro"))
        assert choose_c(train) == C_GRID[int(np.argmax(scores))]
        chosen.add(choose_c(train))
    assert len(chosen) > 1, "otherwise nothing was chosen"


def test_a_fold_of_a_single_class_is_no_obstacle() -> None:
    train = blobs(0, windows=24, cases=2)
    labels = np.where(train.case == 0, 0, train.label)
    odd = LabeledFeatures(values=train.values, label=labels, case=train.case, num_classes=3)
    assert set(logistic_predictions(odd, train.values).label.tolist()) <= {0, 1, 2}


def test_the_majority_is_the_most_frequent_label_and_the_first_of_equals() -> None:
    assert majority_prediction(np.array([2, 0, 2, 1]), 3).tolist() == [2, 2, 2]
    assert majority_prediction(np.array([1, 0, 0, 1]), 2).tolist() == [0, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_do_not_depend_on_threads(threads: int) -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    expected = knn_predictions(train, test.values)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert (knn_predictions(train, test.values) == expected).all()
    finally:
        torch.set_num_threads(before)
