"""The files of an evaluation: `evaluation.json`, and all predictions in `predictions.parquet`."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.evaluation.probes import CLASSIFIER_LABELS
from surgrec.features import WindowRow
from surgrec.json_files import read_json
from surgrec.parquet import parquet_bytes
from surgrec.storage import open_store
from surgrec.text import counted

FORMAT = 1
EVALUATIONS_FOLDER = "evaluation"
"""Folder within a run; it holds a folder for each task."""
EVALUATION_FILE, PREDICTIONS_FILE = "evaluation.json", "predictions.parquet"

FeaturesKind = Literal["trained", "random", "none"]
"""Features behind a prediction: of trained weights, of random weights, or none (a baseline)."""


class _Version(TypedDict):
    format: int


class _Encoder(TypedDict):
    sha256: str


class _Split(TypedDict):
    name: str
    sha256: str
    rule: Any


class _Corpus(TypedDict):
    digests: dict[str, str]


class _PartCounts(TypedDict):
    cases: int
    videos: int
    windows: int
    unlabeled: int
    failed: int


class _Counts(TypedDict):
    train: _PartCounts
    test: _PartCounts


class _Class(TypedDict):
    value: str
    train: int
    test: int


class _Check(TypedDict):
    check: str
    found: int
    of: int


class _Interval(TypedDict):
    value: float
    low: float
    high: float


class _Metrics(TypedDict):
    macro_f1: _Interval
    balanced_accuracy: _Interval
    accuracy: _Interval
    case_accuracy: _Interval


class _Score(TypedDict):
    features: FeaturesKind
    classifier: str
    seeds: int
    degenerate: bool
    metrics: _Metrics


class _Verdict(TypedDict):
    classifier: str
    metric: str
    difference: float
    low: float
    high: float
    p_value: NotRequired[float]
    cases: int
    verdict: Literal["better", "not shown", "worse"]
    primary: bool


class EvaluationFile(TypedDict):
    """The content of `evaluation.json`, as far as reports read it."""

    encoder: _Encoder
    task: str
    split: _Split
    protocol: str
    corpus: _Corpus
    counts: _Counts
    classes: list[_Class]
    audit: list[_Check]
    overrides: NotRequired[list[str]]
    """Files of earlier versions have none."""
    scores: list[_Score]
    verdicts: list[_Verdict]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predictions of one classifier for all test windows."""

    features: FeaturesKind
    seed: int
    """Seed of the random weights; 0 for other features."""
    classifier: str
    """Name of a probe or a baseline."""
    label: Int64[np.ndarray, " m"]
    """Predicted class of each window, as an index."""


def write_evaluation(
    out: Path,
    evaluation: Mapping[str, Any],
    windows: Sequence[WindowRow],
    label: Int64[np.ndarray, " m"],
    predictions: Sequence[Prediction],
) -> None:
    """Write both files, predictions first. Each file is complete or absent.

    Args:
        out: Folder of the evaluation.
        evaluation: Content of `evaluation.json`; it names the classes.
        windows: The test windows.
        label: Their labels, as indices into the classes.
        predictions: Predictions of all classifiers that predict single windows.
    """
    classes = [row["value"] for row in evaluation["classes"]]
    tables = [_table(each, windows, label, classes) for each in predictions]
    store = open_store(out)
    store.write(PREDICTIONS_FILE, parquet_bytes(pa.concat_tables(tables)))

    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    store.write(EVALUATION_FILE, (text + "\n").encode("utf-8"))


def read_evaluations(run_dir: Path) -> list[dict[str, Any]]:
    """Return the content of `RUN/evaluation/*/evaluation.json`, sorted by folder.

    Raises:
        ConfigError: A file is damaged or has another format.
    """
    folders = sorted((run_dir / EVALUATIONS_FOLDER).glob("*"))
    paths = [folder / EVALUATION_FILE for folder in folders]
    return [_read(path) for path in paths if os.path.lexists(path)]


def verdict_sentence(verdict: Mapping[str, Any]) -> str:
    """Return a row of an evaluation's verdicts in words."""
    difference, low, high = verdict["difference"], verdict["low"], verdict["high"]
    result = {
        "better": f"better than random init by {difference:.3f} [{low:.3f}, {high:.3f}]",
        "worse": f"worse than random init by {-difference:.3f} [{-high:.3f}, {-low:.3f}]",
        "not shown": "no difference from random init shown, "
        f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
    }[verdict["verdict"]]

    classifier = CLASSIFIER_LABELS[verdict["classifier"]]
    rank = "" if verdict["primary"] else " (secondary)"
    metric = verdict["metric"].replace("_", " ").replace("f1", "F1")
    return f"{classifier}{rank}, {metric}: {result} over {counted(verdict['cases'], 'case')}"


def _read(path: Path) -> dict[str, Any]:
    remedy = "evaluate again"
    version = read_json(path, _Version, error=ConfigError, remedy=remedy)["format"]
    if version != FORMAT:
        raise ConfigError(
            f"{path} has format {version!r}, but this version of SurgRec reads "
            f"format {FORMAT}; {remedy}"
        )

    content = read_json(path, EvaluationFile, error=ConfigError, remedy=remedy)
    for row in (*content["scores"], *content["verdicts"]):
        if row["classifier"] not in CLASSIFIER_LABELS:
            raise ConfigError(
                f"{path} names the unknown classifier {row['classifier']!r}; {remedy}"
            )
    return dict(content)


def _table(
    prediction: Prediction,
    windows: Sequence[WindowRow],
    label: Int64[np.ndarray, " m"],
    classes: Sequence[str],
) -> pa.Table:
    """Return one row per test window: the prediction, the window, label and predicted class."""
    rows = len(windows)
    columns: dict[str, Any] = {
        # The prediction, equal for all rows.
        "features": [prediction.features] * rows,
        "seed": pa.array([prediction.seed] * rows, pa.int64()),
        "classifier": [prediction.classifier] * rows,
        # The window.
        "source": [window.source for window in windows],
        "case": [window.case for window in windows],
        "video": [window.video for window in windows],
        "start_s": [window.start_s for window in windows],
        "end_s": [window.end_s for window in windows],
        # Label and predicted class.
        "label": [classes[index] for index in label],
        "prediction": [classes[index] for index in prediction.label],
    }
    return pa.table(columns)
