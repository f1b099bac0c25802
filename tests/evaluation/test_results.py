"""The files of an evaluation, and the sentence of a verdict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation import read_evaluations, verdict_sentence
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation._results import write_evaluation
from surgrec.evaluation.kinds import KINDS
from surgrec.parquet import read_parquet
from surgrec.scores import count_predictions
from tests.support.evaluations import shortest_evaluation, window_row


def part(*values: str) -> PartWindows:
    """Return windows of 2 s with these labels, one case each."""
    rows = [window_row(f"c{number}", number, video="v") for number in range(len(values))]
    return PartWindows(
        rows=rows,
        values=list(values),
        times_s=np.array([row.end_s - 0.25 for row in rows]),
        indices=np.arange(len(values)),
        unlabeled=0,
        failed=0,
        num_cases=len(values),
    )


def write_file(run_dir: Path, text: str) -> None:
    path = run_dir / "evaluation/phase/evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


WINDOWS = LabeledWindows(part("access", "closure"), part("access", "access"))
PREDICTIONS = [
    Prediction(
        features="trained",
        classifier="knn",
        label=np.array([0, 1]),
        probability=np.array([[0.75, 0.25], [0.5, 0.5]]),
    ),
    Prediction(features="random", classifier="logistic", label=np.array([1, 1]), seed=2),
]
ROWS = [
    ScoredRow(
        features=each.features,
        classifier=each.classifier,
        tables=[count_predictions(WINDOWS.truth, np.asarray(each.label))],
        paired=[],
        seeds=[(each.seed, each.head_seed)],
        degenerate=False,
    )
    for each in PREDICTIONS
]


def write(out: Path, task: str = "phase") -> None:
    record, sizes = shortest_evaluation(task), np.bincount(WINDOWS.test.case_indices).tolist()
    write_evaluation(out, record, WINDOWS, PREDICTIONS, ROWS, KINDS["classes"], sizes)


def test_written_evaluations_are_read_sorted_by_task(tmp_path: Path) -> None:
    for task in ("tool", "phase"):
        write(tmp_path / "evaluation" / task, task)
    # Files of earlier versions have no scope: they score moments.
    assert read_evaluations(tmp_path) == [
        {**shortest_evaluation(task), "scope": "moment"} for task in ("phase", "tool")
    ]
    assert read_evaluations(tmp_path / "evaluation") == []


def test_every_prediction_is_a_row_with_class_names(tmp_path: Path) -> None:
    write(tmp_path)
    rows = read_parquet((tmp_path / "predictions.parquet").read_bytes(), "here").to_pylist()
    names = ("features", "seed", "classifier", "time_s", "prediction", "probability")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("trained", 0, "knn", 1.75, "access", [0.75, 0.25]),
        ("trained", 0, "knn", 2.75, "closure", [0.5, 0.5]),
        ("random", 2, "logistic", 1.75, "closure", None),
        ("random", 2, "logistic", 2.75, "closure", None),
    ]
    assert {(row["source"], row["video"], row["label"]) for row in rows} == {
        ("alpha", "v", "access")
    }


def test_every_case_has_a_row_with_its_scores(tmp_path: Path) -> None:
    write(tmp_path)
    rows = read_parquet((tmp_path / "cases.parquet").read_bytes(), "here").to_pylist()
    names = ("features", "seed", "head_seed", "classifier", "source", "case", "windows", "accuracy")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("trained", 0, 0, "knn", "alpha", "c0", 1, 1.0),
        ("trained", 0, 0, "knn", "alpha", "c1", 1, 0.0),
        ("random", 2, 0, "logistic", "alpha", "c0", 1, 0.0),
        ("random", 2, 0, "logistic", "alpha", "c1", 1, 0.0),
    ]


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path, json.dumps({"format": 1}))
    with pytest.raises(
        ConfigError,
        match=r"phase/evaluation.json has format 1, but this version .* reads format 2",
    ):
        read_evaluations(tmp_path)


def test_a_file_of_a_later_version_is_read_with_its_further_fields(tmp_path: Path) -> None:
    write_file(tmp_path, json.dumps({**shortest_evaluation("phase"), "later": 1}))
    assert read_evaluations(tmp_path)[0]["later"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scores": 5}, "scores is a whole number, not a list"),
        ({"scores": [{}]}, r"scores\[0\] lacks the field"),
        ({"counts": {"train": {}, "test": {}}}, "counts.train lacks the field"),
        (
            {"verdicts": [{**shortest_evaluation("a")["verdicts"][0], "verdict": "x"}]},
            r"verdicts\[0\]",
        ),
        (
            {"scores": [{**shortest_evaluation("a")["scores"][0], "classifier": "svm"}]},
            "names the unknown classifier 'svm'",
        ),
        ({"encoder": None}, "encoder is null, not an object"),
        ({"primary_metric": "map"}, "names the unknown metric 'map'"),
        ({"metrics": ["macro_f1", "map"]}, "has a score without 'map'"),
    ],
)
def test_a_file_without_what_a_report_needs_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    write_file(tmp_path, json.dumps({**shortest_evaluation("phase"), **change}))
    with pytest.raises(ConfigError, match=rf"evaluation\.json.*{words}.*; evaluate again"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize("text", ['{"format": 2', "[]", "", "\0", "[" * 100_000, "NaN"])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, text: str) -> None:
    write_file(tmp_path, text)
    with pytest.raises(ConfigError, match=r"evaluation\.json .*; evaluate again"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize(
    ("verdict", "numbers", "sentence"),
    [
        (
            "better",
            (0.08, 0.03, 0.13),
            "kNN, macro F1: better than random init by 0.080 [0.030, 0.130] over 24 cases",
        ),
        (
            "worse",
            (-0.08, -0.13, -0.03),
            "kNN, macro F1: worse than random init by 0.080 [0.030, 0.130] over 24 cases",
        ),
        (
            "not shown",
            (0.01, -0.02, 0.04),
            "kNN, macro F1: no difference from random init shown, +0.010 [-0.020, +0.040] "
            "over 24 cases",
        ),
    ],
)
def test_a_verdict_sentence_has_direction_difference_and_interval(
    verdict: str, numbers: tuple[float, float, float], sentence: str
) -> None:
    row = dict(zip(("difference", "low", "high"), numbers, strict=True))
    row |= {
        "classifier": "knn",
        "metric": "macro_f1",
        "against": "random",
        "cases": 24,
        "verdict": verdict,
    }
    names = {"knn": "kNN"}
    assert verdict_sentence(row | {"primary": True}, names) == sentence
    secondary = verdict_sentence(row | {"primary": False}, names)
    assert secondary == sentence.replace("kNN", "kNN (secondary)")
