"""Read the results of a benchmark's commands that its page shows."""

import csv
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from surgrec.bench._audit_files import AuditFile
from surgrec.errors import ConfigError
from surgrec.json_files import read_json

_REMEDY = "remove this file, and run the benchmark again"


class _Interval(TypedDict):
    value: float | None
    low: float | None
    high: float | None


class _Score(TypedDict):
    features: str
    classifier: str
    degenerate: bool
    metrics: dict[str, _Interval]


class _Verdict(TypedDict):
    classifier: str
    verdict: str
    primary: bool


class _Encoder(TypedDict):
    sha256: str


class _Split(TypedDict):
    name: str
    sha256: str


class _Corpus(TypedDict):
    digests: dict[str, str]


class _Part(TypedDict):
    cases: int
    videos: int
    windows: int
    failed: int


class EvaluationRecord(TypedDict):
    """The content of `evaluation.json`."""

    encoder: _Encoder
    split: _Split
    protocol: str
    corpus: _Corpus
    counts: dict[str, _Part]
    overrides: list[str]
    audit: list["CheckRow"]
    classifiers: dict[str, str]
    scores: list[_Score]
    verdicts: list[_Verdict]


class CheckRow(TypedDict):
    """One row of the audit within an evaluation."""

    check: str
    found: int
    of: int


class TotalRow(TypedDict):
    """One total of a copy of a data set."""

    what: str
    expected: float | None
    found: float
    is_less: bool


class CheckFile(TypedDict):
    """What `surgrec-shard check-source --json` printed."""

    is_complete: bool
    totals: list[TotalRow]
    missing: list[str]
    odd: list[str]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A score with its interval; NaN where undefined."""

    value: float
    low: float
    high: float
    degenerate: bool


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Read the record of an evaluation.

    Raises:
        ConfigError: It is missing or damaged.
    """
    path = folder / "evaluation.json"
    record: EvaluationRecord = read_json(
        path, EvaluationRecord, error=ConfigError, remedy=_REMEDY, file_names=True
    )
    return record


def read_audit(path: Path) -> AuditFile | None:
    """Read the findings of an audit; None if it printed none.

    Raises:
        ConfigError: The file is damaged.
    """
    if not path.is_file() or not path.stat().st_size:
        return None
    audit: AuditFile = read_json(
        path, AuditFile, error=ConfigError, remedy=_REMEDY, file_names=True
    )
    return audit


def read_check(path: Path) -> CheckFile:
    """Read the result of the check of a copy.

    Raises:
        ConfigError: It is missing or damaged.
    """
    check: CheckFile = read_json(
        path, CheckFile, error=ConfigError, remedy=_REMEDY, file_names=True
    )
    return check


def primary_classifier(record: EvaluationRecord) -> str:
    """Return the classifier whose verdict counts."""
    primary = [row["classifier"] for row in record["verdicts"] if row["primary"]]
    return next(iter([*primary, *record["classifiers"]]), "")


def own_score(record: EvaluationRecord, metric: str) -> Score | None:
    """Return the score of the encoder by the classifier that counts; None if there is none."""
    classifier = primary_classifier(record)
    for row in record["scores"]:
        if (row["features"], row["classifier"]) == ("trained", classifier):
            found = row["metrics"].get(metric)
            if found is None:
                return None
            value, low, high = (
                math.nan if found[end] is None else float(found[end] or 0.0)
                for end in ("value", "low", "high")
            )
            return Score(value=value, low=low, high=high, degenerate=row["degenerate"])
    return None


def compared_scores(
    folder: Path,
    metric: str,
    classifiers: Mapping[str, str],
    *,
    task: str = "",
    splits: Sequence[str] = (),
) -> dict[str, Score]:
    """Return the score of each method of a comparison, on the windows that all have.

    Empty if there is no comparison.

    Args:
        folder: Folder of the comparison.
        metric: Name of the metric.
        classifiers: The classifier of each method.
        task: Labels of the task, if the comparison has several.
        splits: Names of the folds whose mean is wanted, of a comparison of several.
    """
    wanted = " + ".join(splits)
    return {
        row["method"]: Score(
            value=float(row["value"]),
            low=float(row["low"]),
            high=float(row["high"]),
            degenerate=row["degenerate"] == "True",
        )
        for row in _rows(folder / "scores.csv")
        if (row["features"], row["metric"]) == ("trained", metric)
        and (not splits or (row["task"], row["split"]) == (task, wanted))
        and row["classifier"] == classifiers.get(row["method"])
    }


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """The difference of two methods on a task, in the primary metric of its kind."""

    task: str
    split: str
    metric: str
    difference: float
    low: float
    high: float
    p_holm: float
    verdict: str
    """Of the first method."""


def pairs_of(folder: Path, first: str, second: str) -> list[PairRow]:
    """Return the paired differences of two methods by the classifiers that count.

    Args:
        folder: Folder of a comparison.
        first: Name of a method.
        second: Name of another one; its scores are subtracted.
    """
    found = []
    for row in _rows(folder / "pairs.csv"):
        if row["primary"] != "True" or {row["first"], row["second"]} != {first, second}:
            continue

        # The table has each pair once: turn it if it is the other way round.
        value, low, high = (float(row[name]) for name in ("difference", "low", "high"))
        verdict = row["verdict"]
        if row["first"] == second:
            value, low, high = -value, -high, -low
            verdict = {"better": "worse", "worse": "better"}.get(verdict, verdict)

        found.append(
            PairRow(
                task=row["task"],
                split=row["split"],
                metric=row["metric"],
                difference=value,
                low=low,
                high=high,
                p_holm=float(row["p_holm"]),
                verdict=verdict,
            )
        )
    return found


def wins_of(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Return how often each method of a comparison is better and worse, by the verdicts."""
    better: dict[str, int] = defaultdict(int)
    worse: dict[str, int] = defaultdict(int)
    for row in _rows(folder / "pairs.csv"):
        if row["primary"] == "True" and row["verdict"] in ("better", "worse"):
            winner, loser = row["first"], row["second"]
            if row["verdict"] == "worse":
                winner, loser = loser, winner
            better[winner] += 1
            worse[loser] += 1
    return {name: (better[name], worse[name]) for name in better.keys() | worse.keys()}


def _rows(path: Path) -> Sequence[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
