"""Probes and baselines against scikit-learn and known data."""

import numpy as np
import pytest
import torch
from sklearn import linear_model
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from surgrec.evaluation import CLASSIFIER_LABELS, PROBES
from surgrec.evaluation.probes import (
    PRIMARY_PROBE,
    Knn,
    LabeledFeatures,
    LogisticRegression,
    Probe,
    majority_predictions,
)

KNN, LOGISTIC = Knn(), LogisticRegression()


def blobs(seed: int, windows: int = 240, cases: int = 6, noise: float = 1.0) -> LabeledFeatures:
    """Return windows of three classes around three directions; each case has all classes."""
    rng = np.random.default_rng(seed)
    label = np.arange(windows) % 3
    values = np.eye(8)[label] * 3 + rng.normal(size=(windows, 8)) * noise
    case = np.arange(windows) // 3 % cases
    return LabeledFeatures(values=values.astype(np.float32), label=label, case=case, num_classes=3)


def test_probe_names_are_unique_and_the_primary_probe_has_no_choice() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    assert CLASSIFIER_LABELS == {
        "knn": "kNN",
        "logistic": "logistic regression",
        "majority": "majority",
        "prior": "class prior",
    }
    assert PRIMARY_PROBE.name == "knn"
    assert PRIMARY_PROBE.fit_predict(blobs(0), blobs(1).values).chosen == ""


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_every_probe_separates_distant_classes(probe: Probe) -> None:
    train, test = blobs(0), blobs(1)
    result = probe.fit_predict(train, test.values)
    assert (result.label == test.label).mean() > 0.9
    assert result.issues <= set(probe.issues)
    assert probe.describe({"trained": result.chosen}).startswith(probe.label)


def test_knn_ignores_a_common_offset_and_the_units_of_features() -> None:
    train, test = blobs(0, noise=3.0), blobs(1, noise=3.0)
    width = train.values.shape[1]
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.1, 9, width).astype(np.float32)
    shift = rng.uniform(-50, 50, width).astype(np.float32)
    moved = LabeledFeatures(
        values=train.values * scale + shift,
        label=train.label,
        case=train.case,
        num_classes=train.num_classes,
    )
    predicted = KNN.fit_predict(moved, test.values * scale + shift).label
    assert (predicted == KNN.fit_predict(train, test.values).label).mean() > 0.99, (
        "except for the rounding of float32"
    )
    assert (predicted == test.label).mean() > 0.5


def test_the_regression_equals_scikit_learn_on_standardized_features() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    result = LOGISTIC.fit_predict(train, test.values)
    scaler = StandardScaler().fit(train.values.astype(np.float64))
    model = linear_model.LogisticRegression(C=float(result.chosen), max_iter=1000).fit(
        scaler.transform(train.values), train.label
    )
    assert (result.label == model.predict(scaler.transform(test.values))).all()
    assert "logistic regressions stopped before they converged" not in result.issues


def test_the_regression_reports_a_stopped_solver_and_an_extreme_c() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    hasty = LogisticRegression(c_grid=(10.0,), max_iterations=1)
    assert hasty.fit_predict(train, test.values).issues == set(hasty.issues)


def test_the_regression_ignores_the_units_of_features() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    units = np.array([1, 1000, 0.001, 1, 1, 50, 1, 1], dtype=np.float32)
    scaled = LabeledFeatures(
        values=train.values * units, label=train.label, case=train.case, num_classes=3
    )
    same = (
        LOGISTIC.fit_predict(scaled, test.values * units).label
        == LOGISTIC.fit_predict(train, test.values).label
    )
    assert same.mean() > 0.99


def test_the_penalty_is_chosen_by_macro_f1_on_held_out_cases() -> None:
    chosen = set()
    for seed in (2, 3):
        train = blobs(seed, windows=63, cases=7, noise=5.0)
        scores = []
        for c in LOGISTIC.c_grid:
            regression = linear_model.LogisticRegression(C=c, max_iter=1000)
            model = make_pipeline(StandardScaler(), regression)
            values, folds = train.values.astype(np.float64), GroupKFold(5)
            held_out = cross_val_predict(model, values, train.label, groups=train.case, cv=folds)
            scores.append(f1_score(train.label, held_out, average="macro"))
        assert LOGISTIC.choose_c(train) == LOGISTIC.c_grid[int(np.argmax(scores))]
        chosen.add(LOGISTIC.choose_c(train))
    assert len(chosen) > 1, "the choice depends on the data"


def test_a_fold_of_a_single_class_is_allowed() -> None:
    train = blobs(0, windows=24, cases=2)
    labels = np.where(train.case == 0, 0, train.label)
    odd = LabeledFeatures(values=train.values, label=labels, case=train.case, num_classes=3)
    assert set(LOGISTIC.fit_predict(odd, train.values).label.tolist()) <= {0, 1, 2}


def test_the_majority_is_the_most_frequent_label_first_among_equals() -> None:
    assert majority_predictions(np.array([2, 0, 2, 1]), 3).tolist() == [2, 2, 2]
    assert majority_predictions(np.array([1, 0, 0, 1]), 2).tolist() == [0, 0]


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_do_not_depend_on_threads(threads: int) -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    expected = KNN.fit_predict(train, test.values).label
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert (KNN.fit_predict(train, test.values).label == expected).all()
    finally:
        torch.set_num_threads(before)
