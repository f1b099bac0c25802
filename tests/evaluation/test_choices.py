"""The settings of probes are chosen on val or train cases, never on test cases."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._run_probes import RANDOM_SEEDS, TRAINED, random_name, run_probes
from surgrec.evaluation.kinds import KINDS
from surgrec.features import Features
from tests.support.evaluations import FACTS, window_row

CLASSES = KINDS["classes"]
CASES, WINDOWS = 12, 12
"""Cases of the corpus, and windows of each."""


ROWS = [
    window_row(f"case{case:02d}", start_s) for case in range(CASES) for start_s in range(WINDOWS)
]
LABELS = np.arange(len(ROWS)) % 3


def features(seed: int) -> Features:
    """Return weak features: the class, in a lot of noise."""
    noise = np.random.default_rng(seed).normal(size=(len(ROWS), 8)) * 5
    values = torch.from_numpy((np.eye(8)[LABELS] * 3 + noise).astype(np.float32))
    return Features(rows=ROWS, values=values, facts=FACTS, failed=[])


def part(first: int, last: int) -> PartWindows:
    """Return the windows of a range of cases."""
    indices = np.arange(first * WINDOWS, last * WINDOWS)
    return PartWindows(
        rows=[ROWS[index] for index in indices],
        values=[f"class {LABELS[index]}" for index in indices],
        times_s=np.array([ROWS[index].end_s for index in indices]),
        indices=indices,
        unlabeled=0,
        failed=0,
        num_cases=last - first,
    )


def shuffled(windows: PartWindows, seed: int) -> PartWindows:
    """Return windows with each other's labels."""
    order = np.random.default_rng(seed).permutation(len(windows.values))
    return replace(windows, values=[windows.values[index] for index in order])


@pytest.mark.parametrize("val", [None, part(4, 8)], ids=["folds", "val"])
def test_labels_of_test_change_neither_choice_nor_prediction(val: PartWindows | None) -> None:
    encoders = {TRAINED: features(0), **{random_name(seed): features(9) for seed in RANDOM_SEEDS}}
    windows = LabeledWindows(part(0, 4), part(8, CASES), val)
    expected = run_probes(encoders, windows, CLASSES.probes)
    other = run_probes(encoders, replace(windows, test=shuffled(windows.test, 1)), CLASSES.probes)
    assert other.chosen == expected.chosen
    for one, another in zip(expected.predictions, other.predictions, strict=True):
        assert np.array_equal(one.label, another.label)


def test_labels_of_val_decide_and_are_not_learned() -> None:
    encoders = {TRAINED: features(0), **{random_name(seed): features(9) for seed in RANDOM_SEEDS}}
    windows = LabeledWindows(part(0, 4), part(8, CASES), part(4, 8))
    results = [
        run_probes(encoders, replace(windows, val=shuffled(part(4, 8), seed)), CLASSES.probes)
        for seed in range(4)
    ]
    choices = {result.chosen["logistic"][TRAINED] for result in results}
    assert len(choices) > 1, "the labels of val decide"
    knn = [np.asarray(result.predictions[0].label).tolist() for result in results]
    assert knn.count(knn[0]) == len(knn), "kNN, which chooses nothing, ignores val"
