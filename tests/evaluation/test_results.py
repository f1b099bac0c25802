"""The files of an evaluation, and the sentence of a verdict."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surgrec.errors import ConfigError
from surgrec.evaluation import read_evaluations, verdict_sentence
from surgrec.evaluation._results import Prediction, write_evaluation
from surgrec.features import WindowRow
from surgrec.parquet import read_parquet
from tests.support.evaluations import shortest_evaluation


def window(start_s: float) -> WindowRow:
    """Return a window of 2 s."""
    return WindowRow(
        source="alpha",
        domain="d",
        case="c",
        video="v",
        split="test",
        start_s=start_s,
        end_s=start_s + 2,
        file="",
        row=0,
    )


def write_file(run_dir: Path, text: str) -> None:
    path = run_dir / "evaluation/phase/evaluation.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


PREDICTIONS = [
    Prediction(features="trained", seed=0, classifier="knn", label=np.array([0, 1])),
    Prediction(features="random", seed=2, classifier="logistic", label=np.array([1, 1])),
]


def test_written_evaluations_are_read_sorted_by_task(tmp_path: Path) -> None:
    for task in ("tool", "phase"):
        out = tmp_path / "evaluation" / task
        write_evaluation(
            out,
            shortest_evaluation(task),
            [window(0.0), window(0.5)],
            np.array([0, 0]),
            PREDICTIONS,
        )
    assert read_evaluations(tmp_path) == [shortest_evaluation("phase"), shortest_evaluation("tool")]
    assert read_evaluations(tmp_path / "evaluation") == []


def test_every_prediction_is_a_row_with_class_names(tmp_path: Path) -> None:
    write_evaluation(
        tmp_path,
        shortest_evaluation("phase"),
        [window(0.0), window(0.5)],
        np.array([0, 0]),
        PREDICTIONS,
    )
    rows = read_parquet((tmp_path / "predictions.parquet").read_bytes(), "here").to_pylist()
    assert [
        (row["features"], row["seed"], row["classifier"], row["start_s"], row["prediction"])
        for row in rows
    ] == [
        ("trained", 0, "knn", 0.0, "access"),
        ("trained", 0, "knn", 0.5, "closure"),
        ("random", 2, "logistic", 0.0, "closure"),
        ("random", 2, "logistic", 0.5, "closure"),
    ]
    assert {(row["source"], row["case"], row["video"], row["label"]) for row in rows} == {
        ("alpha", "c", "v", "access")
    }


def test_another_format_is_refused(tmp_path: Path) -> None:
    write_file(tmp_path, json.dumps({"format": 2}))
    with pytest.raises(
        ConfigError,
        match=r"phase/evaluation.json has format 2, but this version .* reads format 1",
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
    ],
)
def test_a_file_without_what_a_report_needs_is_refused_with_its_place(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    write_file(tmp_path, json.dumps({**shortest_evaluation("phase"), **change}))
    with pytest.raises(ConfigError, match=rf"evaluation\.json.*{words}.*; evaluate again"):
        read_evaluations(tmp_path)


@pytest.mark.parametrize("text", ['{"format": 1', "[]", "", "\0", "[" * 100_000, "NaN"])
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
    assert verdict_sentence(row | {"primary": True}) == sentence
    assert verdict_sentence(row | {"primary": False}) == sentence.replace("kNN", "kNN (secondary)")
