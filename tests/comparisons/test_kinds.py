"""Sets of labels, triplets and numbers are compared by the scores of their kind."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from surgrec.comparisons import compare, comparison_tables, write_tables
from surgrec.report.comparison import write_comparison
from surgrec.scores.frames import FrameTable
from surgrec.scores.multilabel import LabelSets
from surgrec.scores.regression import Numbers
from surgrec.scores.triplets import TripletTable
from tests.support.results import CLASSES, WINDOWS, write_result

CASES, GROUPS = 8, 6
TRIPLETS = ["grasper,grasp,liver", "grasper,null_verb,null_target", "hook,dissect,liver"]
SCORES = {"phases": FrameTable, "labels": LabelSets, "triplets": TripletTable, "numbers": Numbers}


def rows_of_sets(noise: float, seed: int, classes: list[str]) -> dict[str, Any]:
    """Columns of a prediction with these classes; the last group is a constant baseline."""
    count = CASES * WINDOWS
    present = np.random.default_rng(5).random((count, 3)) < 0.4
    rng = np.random.default_rng(seed)
    scores = [
        np.clip(0.5 * present + 0.25 + noise * rng.normal(size=present.shape), 0, 1)
        for _ in range(GROUPS - 1)
    ]
    scores.append(np.full(present.shape, 0.4))
    names = [[name for name, has in zip(classes, row, strict=True) if has] for row in present]
    guesses = [
        [name for name, share in zip(classes, row, strict=True) if share >= 0.5]
        for table in scores
        for row in table
    ]
    kind = pa.list_(pa.string())
    return {
        "label": pa.array(names * GROUPS, kind),
        "prediction": pa.array(guesses, kind),
        "probability": pa.array(list(np.concatenate(scores)), pa.list_(pa.float32())),
    }


def rows_of_numbers(noise: float, seed: int) -> dict[str, Any]:
    count = CASES * WINDOWS
    case = np.repeat(np.random.default_rng(5).random(CASES), WINDOWS)
    rng = np.random.default_rng(seed)
    wrong = np.repeat(rng.normal(size=(GROUPS - 1, CASES)), WINDOWS, axis=1)
    predicted = np.concatenate([(case + noise * wrong).ravel(), np.full(count, 0.5)])
    return {"label": np.tile(case, GROUPS), "prediction": predicted}


def write_kind(folder: Path, kind: str, noise: float, seed: int) -> Path:
    """Write a result folder of a kind; more noise makes it worse."""
    classes = TRIPLETS if kind == "triplets" else CLASSES
    columns = (
        rows_of_numbers(noise, seed) if kind == "numbers" else rows_of_sets(noise, seed, classes)
    )
    named = [] if kind == "numbers" else [{"value": n, "train": 5, "test": 5} for n in classes]
    return write_result(
        folder,
        kind=kind,
        cases=CASES,
        seed=seed,
        classes=named,
        columns={
            name: pa.array(values) if isinstance(values, np.ndarray) else values
            for name, values in columns.items()
        },
    )


@pytest.mark.parametrize("kind", ["labels", "triplets", "numbers"])
def test_the_less_noisy_encoder_is_first_in_every_kind(kind: str, tmp_path: Path) -> None:
    words = [
        f"{name}={write_kind(tmp_path / name, kind, noise, seed)}"
        for seed, (name, noise) in enumerate((("noisy", 1.5), ("clear", 0.05)))
    ]
    found = compare(words)
    (data_set,) = found.data_sets
    row = data_set.row("clear", "knn")
    assert row is not None
    assert isinstance(row.tables[0], SCORES[kind])
    assert list(row.metrics) == list(data_set.kind.metrics)
    assert found.standings["knn"][0].method == "clear"
    assert row.metrics[data_set.kind.primary].value > 0.9

    write_tables(found, tmp_path / "out")
    write_comparison(found, tmp_path / "out/comparison.html")
    text = (tmp_path / "out/comparison.html").read_text(encoding="utf-8")
    assert "<h2>phase, split official</h2>" in text
    assert "Confusion" not in text

    # Every kind has a value of each case.
    (pair,) = data_set.primary_pairs
    assert (pair.wins.wins, pair.wins.losses) == (0, CASES)
    assert pair.wins.effect < 0
    assert np.isfinite(pair.case_differences).all()
    assert np.isfinite(row.case_spread)
    note = next(t.note for t in comparison_tables(found).in_order if t.title.endswith(": pairs"))
    assert ("by minus the absolute error." in note) == (kind == "numbers")
    assert ("dots are cases by minus the absolute error" in text) == (kind == "numbers")
    # The correlation has no unit, the errors have that of the labels: each has an axis of its own.
    assert (">minus the absolute error</text>" in text) == (kind == "numbers")
    assert (">spearman</text>" in text) == (kind == "numbers")


def test_the_scores_of_sets_equal_those_of_the_scores_room(tmp_path: Path) -> None:
    words = [str(write_kind(tmp_path / name, "labels", 0.5, n)) for n, name in enumerate("ab")]
    (data_set,) = compare(words).data_sets
    row = data_set.row(words[0], "knn")
    assert row is not None
    sets = LabelSets(
        case=data_set.scored.case,
        label=data_set.windows.label,
        score=row.predicted[0].value,
        num_cases=CASES,
    )
    scores = sets.scores(np.ones((1, CASES)))
    for metric in ("map", "case_map"):
        assert row.metrics[metric].value == pytest.approx(scores[metric][0])


def test_phases_are_scored_by_video_phase_and_segment(tmp_path: Path) -> None:
    words = [
        f"{name}={write_result(tmp_path / name, kind='phases', skill=skill, seed=seed)}"
        for seed, (name, skill) in enumerate((("noisy", 0.5), ("clear", 0.99)))
    ]
    found = compare(words)
    (data_set,) = found.data_sets
    noisy, clear = (data_set.row(name, "knn") for name in ("noisy", "clear"))
    assert noisy is not None
    assert clear is not None
    assert isinstance(clear.tables[0], FrameTable)

    # Labels are 3.75, 4.75, ... s after the start: the scored seconds begin with the first one.
    scores = clear.tables[0].scores(np.ones((1, 12)))
    label, value = data_set.windows.label, clear.predicted[0].value
    shares = [np.mean((label == value)[data_set.scored.case == case]) for case in range(12)]
    assert clear.metrics["video_accuracy"].value == pytest.approx(np.mean(shares))
    assert scores["video_accuracy"][0] == pytest.approx(np.mean(shares))
    for metric in ("edit", "segmental_f1_10", "segmental_f1_50"):
        assert clear.metrics[metric].value > noisy.metrics[metric].value + 0.2

    (tables,) = comparison_tables(found).data_sets
    assert "segmental F1 25" in tables.tables[1].columns
    prior = next(row for row in tables.tables[1].rows if row[2] == "class prior")
    assert set(prior[3:]) == {"-"}
    assert [row[1] for row in tables.tables[3].rows] == CLASSES * 2
    write_tables(found, tmp_path / "out")
    assert "clear,trained,knn,1,False,edit," in (tmp_path / "out/scores.csv").read_text()
    write_comparison(found, tmp_path / "out/comparison.html")
    assert "Confusion" in (tmp_path / "out/comparison.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("kind", "columns"), [("labels", 3), ("triplets", 2)])
def test_each_label_has_its_average_precision(kind: str, columns: int, tmp_path: Path) -> None:
    words = [str(write_kind(tmp_path / name, kind, 0.4, n)) for n, name in enumerate("ab")]
    found = compare(words)
    (data_set,) = found.data_sets
    table = next(t for t in comparison_tables(found).in_order if ": classes," in t.title)
    assert len(table.columns) == 2 + columns
    assert [row[1] for row in table.rows] == data_set.classes * 2
    row = data_set.primary_rows[0]
    mean = np.mean([float(cells[-1]) for cells in table.rows[:3]])
    assert mean == pytest.approx(row.metrics[data_set.kind.primary].value, abs=6e-4)
    assert table.rows[0][2] == str(int(data_set.windows.label[:, 0].sum()))
