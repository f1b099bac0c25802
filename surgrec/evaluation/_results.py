"""The files of an evaluation: `evaluation.json`, and tables of predictions and of cases."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import FeaturesKind, Prediction, ScoredRow
from surgrec.evaluation._tables import cases_table, predictions_table
from surgrec.evaluation.kinds import TaskKind
from surgrec.json_files import read_json
from surgrec.parquet import parquet_bytes
from surgrec.scores.kinds import ScopeName, metric_name
from surgrec.splits import Split, SplitKind
from surgrec.storage import open_store
from surgrec.text import counted

FORMAT = 2
EVALUATIONS_FOLDER = "evaluation"
"""Folder within a run; it holds a folder for each task."""
EVALUATION_FILE = "evaluation.json"
PREDICTIONS_FILE, CASES_FILE = "predictions.parquet", "cases.parquet"


class _Version(TypedDict):
    format: int


class _Encoder(TypedDict):
    sha256: str


class _Split(TypedDict):
    name: str
    sha256: str
    rule: Any
    kind: NotRequired[SplitKind]
    source: NotRequired[str]


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
    val: NotRequired[_PartCounts]
    test: _PartCounts


class _Class(TypedDict):
    value: str
    train: int
    val: NotRequired[int]
    test: int


class _Check(TypedDict):
    check: str
    found: int
    of: int


class _Interval(TypedDict):
    """Numbers are null if they are undefined."""

    value: float | None
    low: float | None
    high: float | None


class _Score(TypedDict):
    features: FeaturesKind
    classifier: str
    seeds: int
    degenerate: bool
    metrics: dict[str, _Interval]
    seed_std: NotRequired[dict[str, float]]
    """Standard deviation over seeds, by metric; of earlier versions and one seed: none."""
    video_std: NotRequired[dict[str, float]]
    """Standard deviation over videos of the metrics that are means over videos."""


class _Units(TypedDict):
    name: str
    number: int


class _Verdict(TypedDict):
    classifier: str
    metric: str
    against: NotRequired[str]
    """`random` for random weights, or the name of a control."""
    difference: float | None
    low: float | None
    high: float | None
    p_value: NotRequired[float]
    cases: int
    units: NotRequired[_Units]
    verdict: Literal["better", "not shown", "worse"]
    primary: bool


class _FewShot(TypedDict):
    amount: str
    cases: int
    subsets: int
    scores: list[_Score]
    verdicts: list[_Verdict]


class EvaluationFile(TypedDict):
    """The content of `evaluation.json`, as far as reports read it."""

    encoder: _Encoder
    task: str
    kind: str
    scope: NotRequired[ScopeName]
    """Whether windows are scored, as in earlier versions, or videos."""
    split: _Split
    protocol: str
    corpus: _Corpus
    counts: _Counts
    classes: list[_Class]
    audit: list[_Check]
    overrides: list[str]
    classifiers: dict[str, str]
    """Name in text of each classifier and baseline, by its name in files."""
    metrics: list[str]
    """Names of all metrics, in the order of tables."""
    primary_metric: str
    """The metric of verdicts."""
    scores: list[_Score]
    verdicts: list[_Verdict]
    units: NotRequired[dict[str, list[int]]]
    """Group of each test case at each level that groups cases, the outermost first."""
    few_shot: NotRequired[list[_FewShot]]
    """The probes on few train cases."""


def split_record(split: Split) -> dict[str, Any]:
    """Return the field `split` of `evaluation.json`."""
    stated = {"kind": split.kind, "source": split.source, "definition": split.definition}
    return {
        "name": split.name,
        "sha256": split.sha256,
        "rule": split.rules,
        **{key: value for key, value in stated.items() if value},
    }


def write_evaluation(
    out: Path,
    evaluation: Mapping[str, Any],
    windows: LabeledWindows,
    predictions: Sequence[Prediction],
    rows: Sequence[ScoredRow],
    kind: TaskKind,
    windows_of_case: Sequence[int],
) -> None:
    """Write the files, `evaluation.json` last. Each file is complete or absent.

    Args:
        out: Folder of the evaluation.
        evaluation: Content of `evaluation.json`.
        windows: The labeled windows, or the videos, that are scored.
        predictions: Predictions of all classifiers that predict single ones of them.
        rows: The scored predictions, for the scores of each case.
        kind: Kind of the task.
        windows_of_case: Number of test windows of each case.
    """
    store = open_store(out)
    store.write(PREDICTIONS_FILE, parquet_bytes(predictions_table(predictions, windows, kind)))
    cases = cases_table(rows, windows, evaluation["metrics"], windows_of_case)
    store.write(CASES_FILE, parquet_bytes(cases))

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


def verdict_sentence(verdict: Mapping[str, Any], classifiers: Mapping[str, str]) -> str:
    """Return a row of an evaluation's verdicts in words.

    Args:
        verdict: The row.
        classifiers: Names of the classifiers in text, from the same evaluation.
    """
    difference, low, high = (
        math.nan if verdict[name] is None else verdict[name]
        for name in ("difference", "low", "high")
    )
    against = classifiers.get(verdict.get("against", ""), "random init")
    result = {
        "better": f"better than {against} by {difference:.3f} [{low:.3f}, {high:.3f}]",
        "worse": f"worse than {against} by {-difference:.3f} [{-high:.3f}, {-low:.3f}]",
        "not shown": f"no difference from {against} shown, "
        f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
    }[verdict["verdict"]]

    classifier = classifiers[verdict["classifier"]]
    is_control = verdict.get("against", "") in classifiers
    rank = "" if verdict["primary"] else " (control)" if is_control else " (secondary)"
    metric = metric_name(verdict["metric"])
    units = verdict.get("units", {"name": "cases"})
    of_units = "" if units["name"] == "cases" else f" of {units['number']} {units['name']}"
    cases = counted(verdict["cases"], "case")
    return f"{classifier}{rank}, {metric}: {result} over {cases}{of_units}"


def _read(path: Path) -> dict[str, Any]:
    remedy = "evaluate again"
    version = read_json(path, _Version, error=ConfigError, remedy=remedy)["format"]
    if version != FORMAT:
        raise ConfigError(
            f"{path} has format {version!r}, but this version of SurgRec reads "
            f"format {FORMAT}; {remedy}"
        )

    content = read_json(path, EvaluationFile, error=ConfigError, remedy=remedy)
    content.setdefault("scope", "moment")
    if content["primary_metric"] not in content["metrics"]:
        raise ConfigError(
            f"{path} names the unknown metric {content['primary_metric']!r}; {remedy}"
        )
    few = content.get("few_shot", [])
    scores = [*content["scores"], *(score for amount in few for score in amount["scores"])]
    verdicts = [*content["verdicts"], *(row for amount in few for row in amount["verdicts"])]
    for row in (*scores, *verdicts):
        if row["classifier"] not in content["classifiers"]:
            raise ConfigError(
                f"{path} names the unknown classifier {row['classifier']!r}; {remedy}"
            )
    for score in scores:
        lacking = [metric for metric in content["metrics"] if metric not in score["metrics"]]
        if lacking:
            raise ConfigError(f"{path} has a score without {lacking[0]!r}; {remedy}")
    return dict(content)
