"""Scores on held-out windows, and the predictions of each kind of target."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from surgrec.supervised._held_out import held_out_score
from surgrec.supervised._results import _predicted
from surgrec.supervised._targets import Targets

CASES = ["a/1"] * 10 + ["a/2"] * 20
GENERATOR = torch.Generator().manual_seed(0)
WINDOWS = np.arange(5, 35)


def test_classes_are_scored_by_macro_f1() -> None:
    labels = torch.randint(0, 3, (40,), generator=GENERATOR)
    outputs = torch.randn(30, 3, generator=GENERATOR)
    score = held_out_score(outputs, Targets.of_classes(labels, 3), WINDOWS, CASES)
    wanted = f1_score(labels[WINDOWS], outputs.argmax(-1), average="macro")
    assert score == pytest.approx(wanted)


def test_labels_are_scored_by_mean_average_precision() -> None:
    sets = torch.randint(0, 2, (40, 4), generator=GENERATOR)
    outputs = torch.randn(30, 4, generator=GENERATOR)
    score = held_out_score(outputs, Targets.of_labels(sets), WINDOWS, CASES)
    wanted = average_precision_score(sets[WINDOWS], outputs, average="macro")
    assert score == pytest.approx(wanted, abs=1e-9)


def test_numbers_are_scored_by_the_mean_absolute_error_in_their_units() -> None:
    numbers = torch.arange(40, dtype=torch.float64) * 2.5
    targets = Targets.of_values(numbers)
    perfect = targets.values[WINDOWS][:, None]
    assert held_out_score(perfect, targets, WINDOWS, CASES) == 0.0
    off = perfect + 2.0 / targets.scale
    assert held_out_score(off, targets, WINDOWS, CASES) == pytest.approx(-2.0, abs=1e-5)


def test_a_prediction_has_the_fields_of_its_kind() -> None:
    outputs = torch.tensor([[0.0, 2.0], [1.0, -1.0]])
    classes = _predicted(Targets.of_classes(torch.tensor([0, 1]), 2), outputs)
    assert classes["label"].tolist() == [1, 0]
    assert classes["probability"].sum(-1) == pytest.approx([1.0, 1.0])

    labels = _predicted(Targets.of_labels(torch.tensor([[0, 1], [1, 1]])), outputs)
    assert labels.keys() == {"probability"}
    assert labels["probability"][0] == pytest.approx([0.5, 1 / (1 + np.exp(-2.0))])

    targets = Targets.of_values(torch.tensor([10.0, 30.0]))
    numbers = _predicted(targets, torch.tensor([[-1.0], [0.5]]))
    assert numbers["number"].tolist() == [10.0, 25.0]
