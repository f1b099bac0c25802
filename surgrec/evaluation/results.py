"""What an evaluation leaves behind: `evaluation.json`, and every prediction in `predictions.parquet`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.features import WindowRow
from surgrec.parquet import parquet_bytes
from surgrec.storage import open_store

FORMAT = 1
EVALUATIONS_FOLDER, EVALUATION_FILE, PREDICTIONS_FILE = (
    "evaluation",
    "evaluation.json",
    "predictions.parquet",
)
FeaturesKind = Literal["trained", "random", "none"]
Classifier = Literal["knn", "logistic", "majority", "prior"]
CLASSIFIER_NAMES: dict[Classifier, str] = {
    "knn": "kNN",
    "logistic": "logistic regression",
    "majority": "majority",
    "prior": "class prior",
}


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What one classifier says of every test window."""

    features: FeaturesKind
    seed: int
    """Of the random initialization; 0 where there is none."""
    classifier: Classifier
    label: Int64[np.ndarray, " m"]
    """Indices into the classes."""


def write_evaluation(
    out: Path,
    evaluation: Mapping[str, Any],
    windows: Sequence[WindowRow],
    label: Int64[np.ndarray, " m"],
    predictions: Sequence[Prediction],
) -> None:
    """Writes both files, predictions first, each complete or not at all.

    Args:
        out: Folder of the evaluation.
        evaluation: The content of `evaluation.json`; it names the classes.
        windows: The test windows.
        label: Their labels, as indices into the classes.
        predictions: Of all classifiers that predict single windows.
    """
    classes = [row["value"] for row in evaluation["classes"]]
    store = open_store(out)
    store.write(
        PREDICTIONS_FILE,
        parquet_bytes(
            pa.concat_tables([_table(each, windows, label, classes) for each in predictions])
        ),
    )
    text = json.dumps(evaluation, indent=1, ensure_ascii=False, allow_nan=False)
    store.write(EVALUATION_FILE, (text + "\n").encode("utf-8"))


def read_evaluations(run_dir: Path) -> list[dict[str, Any]]:
    """The evaluations of a run, `RUN/evaluation/*/evaluation.json` by folder; none where nothing was evaluated.

    Raises:
        ConfigError: A file is not one of this format.
    """
    return [
        _read(path) for path in sorted((run_dir / EVALUATIONS_FOLDER).glob(f"*/{EVALUATION_FILE}"))
    ]


def verdict_sentence(verdict: Mapping[str, Any]) -> str:
    """One row of an evaluation's verdicts in words."""
    difference, low, high = verdict["difference"], verdict["low"], verdict["high"]
    found = {
        "better": f"better than random init by {difference:.3f} [{low:.3f}, {high:.3f}]",
        "worse": f"worse than random init by {-difference:.3f} [{-high:.3f}, {-low:.3f}]",
        "not shown": f"no difference from random init shown, {difference:+.3f} [{low:+.3f}, {high:+.3f}]",
    }[verdict["verdict"]]
    metric = verdict["metric"].replace("_", " ").replace("f1", "F1")
    rank = "" if verdict["primary"] else " (secondary)"
    return f"{CLASSIFIER_NAMES[verdict['classifier']]}{rank}, {metric}: {found} over {verdict['cases']} cases"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}); evaluate again") from None
    version = content.get("format") if isinstance(content, dict) else None
    if version != FORMAT:
        raise ConfigError(
            f"{path} has format {version!r}, this surgrec reads {FORMAT}; evaluate again"
        )
    return dict(content)


def _table(
    prediction: Prediction,
    windows: Sequence[WindowRow],
    label: Int64[np.ndarray, " m"],
    classes: Sequence[str],
) -> pa.Table:
    rows = len(windows)
    columns: dict[str, Any] = {
        "features": [prediction.features] * rows,
        "seed": pa.array([prediction.seed] * rows, pa.int64()),
        "classifier": [prediction.classifier] * rows,
        "source": [window.source for window in windows],
        "case": [window.case for window in windows],
        "video": [window.video for window in windows],
        "start_s": [window.start_s for window in windows],
        "end_s": [window.end_s for window in windows],
        "label": [classes[index] for index in label],
        "prediction": [classes[index] for index in prediction.label],
    }
    return pa.table(columns)
