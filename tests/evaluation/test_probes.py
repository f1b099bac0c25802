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
    LogisticRegression,
    Probe,
)
from surgrec.evaluation.probes.baselines import elapsed_time, majority
from tests.support.probe_data import blobs, labeled, relabeled, with_values

KNN, LOGISTIC = Knn(), LogisticRegression()


def test_probe_names_are_unique_and_the_primary_probe_has_no_choice() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
    assert CLASSIFIER_LABELS == {
        "knn": "kNN",
        "logistic": "logistic regression",
        "majority": "majority",
        "prior": "class prior",
        "elapsed_time": "elapsed time",
    }
    assert PRIMARY_PROBE.name == "knn"
    assert PRIMARY_PROBE.fit_predict(blobs(0), blobs(1)).chosen == ""


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_every_probe_separates_distant_classes(probe: Probe) -> None:
    train, test = blobs(0), blobs(1)
    result = probe.fit_predict(train, test)
    assert (result.label == test.label).mean() > 0.9
    assert (result.probability.argmax(1) == result.label).all()
    assert np.allclose(result.probability.sum(1), 1, atol=1e-5)
    assert result.issues <= set(probe.issues)
    assert probe.describe({"trained": result.chosen}).startswith(probe.label)


def test_knn_ignores_a_common_offset_and_the_units_of_features() -> None:
    train, test = blobs(0, noise=3.0), blobs(1, noise=3.0)
    width = train.values.shape[1]
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.1, 9, width).astype(np.float32)
    shift = rng.uniform(-50, 50, width).astype(np.float32)
    moved, moved_test = (
        with_values(each, each.values.numpy() * scale + shift) for each in (train, test)
    )
    predicted = KNN.fit_predict(moved, moved_test).label
    assert (predicted == KNN.fit_predict(train, test).label).mean() > 0.99, (
        "except for the rounding of float32"
    )
    assert (predicted == test.label).mean() > 0.5


def test_the_regression_equals_scikit_learn_on_standardized_features() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    result = LOGISTIC.fit_predict(train, test)
    scaler = StandardScaler().fit(train.values.double().numpy())
    model = linear_model.LogisticRegression(C=float(result.chosen), max_iter=1000, tol=1e-8)
    model.fit(scaler.transform(train.values.double().numpy()), train.label)
    expected = model.predict_proba(scaler.transform(test.values.double().numpy()))
    assert np.abs(result.probability - expected).max() < 1e-3
    assert (result.label == expected.argmax(1)).all()
    assert "logistic regressions stopped before they converged" not in result.issues


def test_the_regression_reports_a_stopped_solver_and_an_extreme_c() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    hasty = LogisticRegression(c_grid=(10.0,), max_iterations=1)
    assert hasty.fit_predict(train, test).issues == set(hasty.issues)


def test_the_regression_ignores_the_units_of_features() -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    units = np.array([1, 1000, 0.001, 1, 1, 50, 1, 1], dtype=np.float32)
    scaled, scaled_test = (with_values(each, each.values.numpy() * units) for each in (train, test))
    same = (
        LOGISTIC.fit_predict(scaled, scaled_test).label == LOGISTIC.fit_predict(train, test).label
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
            values, folds = train.values.double().numpy(), GroupKFold(5)
            held_out = cross_val_predict(model, values, train.label, groups=train.case, cv=folds)
            scores.append(f1_score(train.label, held_out, average="macro"))
        assert LOGISTIC.choose_c(train) == LOGISTIC.c_grid[int(np.argmax(scores))]
        chosen.add(LOGISTIC.choose_c(train))
    assert len(chosen) > 1, "the choice depends on the data"


def test_a_fold_of_a_single_class_is_allowed() -> None:
    train = blobs(0, windows=24, cases=2)
    labels = np.where(train.case == 0, 0, train.label)
    odd = relabeled(train, labels)
    assert set(LOGISTIC.fit_predict(odd, train).label.tolist()) <= {0, 1, 2}


def test_val_decides_the_penalty_where_there_is_one() -> None:
    train = blobs(2, windows=63, cases=7, noise=5.0)
    chosen = {
        LOGISTIC.fit_predict(train, blobs(1), val=blobs(seed, windows=90, noise=5.0)).chosen
        for seed in range(10, 16)
    }
    assert len(chosen) > 1, "the choice depends on val"
    for seed in (10, 11):
        val = blobs(seed, windows=90, noise=5.0)
        scores = []
        for c in LOGISTIC.c_grid:
            regression = linear_model.LogisticRegression(C=c, max_iter=1000)
            model = make_pipeline(StandardScaler(), regression)
            model.fit(train.values.double().numpy(), train.label)
            predicted = model.predict(val.values.double().numpy())
            scores.append(f1_score(val.label, predicted, average="macro"))
        assert LOGISTIC.choose_c(train, val) == LOGISTIC.c_grid[int(np.argmax(scores))]


def test_a_single_train_case_takes_the_middle_of_the_grid() -> None:
    train = blobs(0, windows=60, cases=1)
    assert LOGISTIC.fit_predict(train, blobs(1)).chosen == "0.1"


def test_the_majority_is_the_most_frequent_label_first_among_equals() -> None:
    def predicted(labels: list[int]) -> list[int]:
        train = labeled(np.zeros((len(labels), 1)), labels, case=np.zeros(len(labels), np.int64))
        return majority(train, train).label.tolist()

    assert predicted([2, 0, 2, 1]) == [2, 2, 2, 2]
    assert predicted([1, 0, 0, 1]) == [0, 0, 0, 0]


def test_the_elapsed_time_predicts_from_the_time_of_a_window_alone() -> None:
    # Two train videos change their class after 100 s; a third one after 140 s.
    time_s = np.tile(np.arange(200.0), 3)
    case = np.repeat(np.arange(3), 200)
    label = (time_s >= np.where(case == 2, 140, 100)).astype(np.int64)
    train = labeled(np.zeros((600, 1)), label, case=case, time_s=time_s)

    times = np.array([0.0, 60.0, 95.0, 150.0, 199.0, 900.0])
    test = labeled(
        np.zeros((6, 1)), np.zeros(6, np.int64), case=np.zeros(6, np.int64), time_s=times
    )
    result = elapsed_time(train, test)
    assert result.label.tolist() == [0, 0, 0, 1, 1, 1]
    # From 65 to 125 s, 35 + 35 + 61 of 183 windows are before the change.
    assert result.probability[2] == pytest.approx([131 / 183, 52 / 183])


@pytest.mark.parametrize("threads", [1, 2])
def test_predictions_do_not_depend_on_threads(threads: int) -> None:
    train, test = blobs(0, noise=4.0), blobs(1, noise=4.0)
    expected = KNN.fit_predict(train, test).label
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert (KNN.fit_predict(train, test).label == expected).all()
    finally:
        torch.set_num_threads(before)
