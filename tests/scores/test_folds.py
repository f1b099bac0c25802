"""Scores of tasks with folds: means over folds, drawn within each."""

import numpy as np
import pytest

from surgrec.scores import GroundTruth, count_predictions, swap_test
from surgrec.scores.folds import FoldTables, fold_tables
from surgrec.scores.units import grouped_units, units_of_folds


def folds(skill: float, *, cases: int = 6, seed: int = 0) -> FoldTables:
    """Return predictions of which about the share `skill` is right, on two folds."""
    rng = np.random.default_rng(seed)
    tables = []
    for fold in range(2):
        label = np.random.default_rng(fold).integers(0, 3, 20 * cases)
        guess = np.where(rng.random(20 * cases) < skill, label, rng.integers(0, 3, 20 * cases))
        case = np.repeat(np.arange(cases), 20)
        truth = GroundTruth(case=case, label=label, num_cases=cases, num_classes=3)
        tables.append(count_predictions(truth, guess))
    return fold_tables(tables)


def test_a_score_is_the_mean_over_the_folds_whatever_their_sizes() -> None:
    found = folds(0.7)
    weights = np.ones((1, found.num_cases))
    weights[0, :3] = 0
    by_fold = [
        float(table.scores(weights[:, columns])["macro_f1"][0])
        for table, columns in zip(found.tables, found.columns, strict=True)
    ]
    assert found.scores(weights)["macro_f1"][0] == pytest.approx(np.mean(by_fold))


def test_predictions_are_exchanged_within_cases_of_their_fold() -> None:
    first, second = folds(0.9), folds(0.2, seed=1)
    joined = first.beside(second)
    whole = np.concatenate([np.ones((1, 12)), np.zeros((1, 12))], axis=1)
    assert joined.scores(whole)["accuracy"] == first.scores(np.ones((1, 12)))["accuracy"]
    assert joined.scores(whole[:, ::-1])["accuracy"] == second.scores(np.ones((1, 12)))["accuracy"]
    assert swap_test([first], [second], "macro_f1") <= 0.01
    assert swap_test([first], [first], "macro_f1") == 1


def test_each_fold_keeps_its_number_of_units_in_every_draw() -> None:
    patients = grouped_units({"patients": ["a", "a", "b", "c"]}, ["1", "2", "3", "4"])
    found = units_of_folds([patients, patients])
    assert (found.name, found.number, len(found.of_case)) == ("patients", 6, 8)
    assert found.of_case.tolist() == [0, 0, 1, 2, 3, 3, 4, 5]
    drawn = found.weights
    assert (drawn[0] == 1).all()
    assert not np.array_equal(drawn[:, :4], drawn[:, 4:]), "folds are drawn independently"

    plain = units_of_folds([grouped_units({}, ["1", "2"]), grouped_units({}, ["3", "4", "5"])])
    assert (plain.weights[:, :2].sum(1) == 2).all()
    assert (plain.weights[:, 2:].sum(1) == 3).all()
