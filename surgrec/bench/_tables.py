"""The table of tasks and encoders, with ranks and wins."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from surgrec.bench._audit_files import fails
from surgrec.bench._choice import BenchTask
from surgrec.bench._copies import build_losses, copy_faults
from surgrec.bench._models import BenchVlm, Model
from surgrec.bench._names import (
    audit_name,
    build_name,
    check_name,
    dedup_name,
    evaluate_name,
    results_folder,
    split_title,
)
from surgrec.bench._results import (
    EvaluationRecord,
    Score,
    compared_scores,
    own_score,
    primary_classifier,
    read_audit,
    read_evaluation,
)
from surgrec.bench._runner import Outcome
from surgrec.text import counted

_LOWER_IS_BETTER = frozenset(("mae", "rmse"))
_FAILS = "fails: "
"""Beginning of a finding that fails."""
_Verdict = Literal["better", "worse", "not shown", ""]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A method on a task."""

    method: str
    score: Score | None
    """None: it has no score, and `sentence` says why."""
    verdict: _Verdict
    """Of the trained encoder over the same architecture with random weights; empty: of several, or
    of a model without such a control."""
    rank: float | None
    """Rank among the methods, 1 for the best; None if a cell of the row has no rank."""
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task with its cells."""

    task: BenchTask
    cells: list[Cell]
    split: str
    """Name and origin of the split."""
    findings: list[str]
    """Findings of the audit that fail or warn."""
    overrides: list[str]
    """Findings that only an option allowed."""
    incomplete: list[str]
    """Missing and odd parts of the copy."""
    losses: list[str]
    """Videos or windows that the build or an evaluation left out."""
    sentence: str = ""
    """Why the row has no scores."""
    protocol: str = ""
    """Protocol of the first model."""
    vlm_protocols: dict[str, str] = field(default_factory=dict)
    """Protocol of each vision-language model, by its method, with the number of images."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of split, corpus and models."""
    num_cases: int = 0
    """Test cases."""
    num_videos: int = 0
    """Test videos of them, with a labeled window."""
    num_windows: int = 0
    """Labeled test windows of these videos, of the first model."""
    is_compared: bool = False
    """Whether the folder of the task has a comparison."""
    has_audit: bool = False
    """Whether the folder of the task has the page of an audit."""
    split_name: str = ""
    """Name of the split in results."""
    classifiers: Mapping[str, str] = field(default_factory=dict)
    """Classifier that counts, by method."""
    folds: tuple[str, ...] = ()
    """Names of the rows of which this one is the mean: the folds of its card."""

    @property
    def name(self) -> str:
        """Name of the task; of the mean over folds, that of the card."""
        return self.task.card.name if self.folds else self.task.name

    @property
    def num_failing(self) -> int:
        """Return the number of findings of the audit that fail."""
        return sum(each.startswith(_FAILS) for each in self.findings)

    @property
    def audit_result(self) -> str:
        """Return the result of the audit in words."""
        if not self.has_audit:
            return "no audit"
        warnings = len(self.findings) - self.num_failing
        failing = counted(self.num_failing, "finding fails", "findings fail")
        return f"{failing}, {counted(warnings, 'warning')}"

    @property
    def is_ranked(self) -> bool:
        """Return whether every method has a rank."""
        return all(cell.rank is not None for cell in self.cells)


def task_row(
    task: BenchTask,
    models: Sequence[Model],
    outcomes: Mapping[str, Outcome],
    out: Path,
) -> TaskRow:
    """Return the row of a task from the files of its steps."""
    audit = read_audit(out / "tasks" / task.name / "audit.json") if not task.card.blocked else None
    findings = audit["findings"] if audit else []
    records = {
        model.name: read_evaluation(out / results_folder(task, model))
        for model in models
        if evaluate_name(task, model) in outcomes and outcomes[evaluate_name(task, model)].is_done
    }
    first = next(iter(records.values()), None)
    comparison = out / "tasks" / task.name / "comparison"
    classifiers = {
        model.method: primary_classifier(records[model.name])
        for model in models
        if model.name in records
    }
    compared = compared_scores(comparison, task.card.metric, classifiers)
    paired = outcomes.get(f"compare/tasks/{task.name}/comparison")
    if not (paired and paired.is_done):
        compared = {}
    cells = _cells(task, models, outcomes, records, compared)
    # Scores on windows that cannot be paired have no order.
    refusal = f"no ranks: {paired.sentence}" if paired and not paired.is_done else ""
    return TaskRow(
        task=task,
        cells=cells if refusal else ranked(cells, task.card.metric),
        split=split_title(task),
        findings=[
            f"{_FAILS if fails(each) else each['severity'] + ': '}{each['sentence']}"
            for each in findings
            if each["severity"] in ("fail", "warn")
        ],
        overrides=_overrides(records, models),
        incomplete=copy_faults(task, outcomes, out),
        losses=[
            *build_losses(task, outcomes, out),
            *_lost_windows(records),
            *([refusal] if refusal else []),
        ],
        sentence=_why_empty(task, outcomes),
        protocol=first["protocol"] if first else "",
        vlm_protocols={
            model.method: records[model.name]["protocol"]
            for model in models
            if isinstance(model, BenchVlm) and model.name in records
        },
        digests=_digests(records),
        num_cases=first["counts"]["test"]["cases"] if first else 0,
        num_videos=first["counts"]["test"]["videos"] if first else 0,
        num_windows=first["counts"]["test"]["windows"] if first else 0,
        is_compared=bool(compared),
        split_name=first["split"]["name"] if first else "",
        classifiers=classifiers,
        has_audit=bool(audit) and (out / "tasks" / task.name / "audit.html").is_file(),
    )


def methods_of(models: Sequence[Model]) -> list[str]:
    """Return the methods in the order of their first encoders."""
    return list(dict.fromkeys(model.method for model in models))


def _cells(
    task: BenchTask,
    models: Sequence[Model],
    outcomes: Mapping[str, Outcome],
    records: Mapping[str, EvaluationRecord],
    compared: Mapping[str, Score],
) -> list[Cell]:
    cells = []
    for method in methods_of(models):
        own = [model for model in models if model.method == method]
        missing = [model for model in own if model.name not in records]
        sentence = _why_missing(task, missing[0], outcomes) if missing else ""
        found = [records[model.name] for model in own if model.name in records]
        score = None if missing else compared.get(method) or _mean_score(found, task.card.metric)
        if score is None and not sentence:
            sentence = f"its results have no {task.card.metric}"
        verdict: _Verdict = ""
        if len(found) == 1 and not isinstance(own[0], BenchVlm):
            verdicts = [row["verdict"] for row in found[0]["verdicts"] if row["primary"]]
            verdict = next((each for each in _VERDICTS if each in verdicts), "")
        cells.append(
            Cell(method=method, score=score, verdict=verdict, rank=None, sentence=sentence)
        )
    return cells


_VERDICTS: tuple[_Verdict, ...] = ("better", "worse", "not shown")


def _mean_score(records: Sequence[EvaluationRecord], metric: str) -> Score | None:
    """Return the score of one encoder, or the mean over several without an interval."""
    scores = [score for score in (own_score(each, metric) for each in records) if score]
    if len(scores) <= 1:
        return next(iter(scores), None)
    return Score(
        value=float(np.mean([score.value for score in scores])),
        low=math.nan,
        high=math.nan,
        degenerate=any(score.degenerate for score in scores),
    )


def ranked(cells: Sequence[Cell], metric: str) -> list[Cell]:
    """Return the cells with ranks, if every one has a score that is not degenerate."""
    scores = [cell.score for cell in cells]
    values = [score.value for score in scores if score and not score.degenerate]
    if len(values) < len(cells) or not np.isfinite(values).all():
        return list(cells)
    sign = 1 if metric in _LOWER_IS_BETTER else -1
    costs = sign * np.array(values)
    # Equal scores share the mean of their ranks.
    ranks = [(costs < cost).sum() + (1 + (costs == cost).sum()) / 2 for cost in costs]
    return [replace(cell, rank=float(rank)) for cell, rank in zip(cells, ranks, strict=True)]


def _why_empty(task: BenchTask, outcomes: Mapping[str, Outcome]) -> str:
    """Return why no encoder has a score: the first step of the task that failed."""
    if task.card.blocked:
        return f"it cannot run yet: {task.card.blocked}"
    if not task.split:
        return "a legacy task is audited, and never scored"
    for name in (check_name(task), build_name(task), dedup_name(task), audit_name(task)):
        outcome = outcomes.get(name)
        if outcome is not None and not outcome.is_done:
            return f"{name.partition('/')[0]}: {outcome.sentence}"
    return ""


def _why_missing(task: BenchTask, model: Model, outcomes: Mapping[str, Outcome]) -> str:
    empty = _why_empty(task, outcomes)
    if empty:
        return empty
    if isinstance(model, BenchVlm) and task.card.kind == "numbers":
        return f"{model.name}: a vision-language model is not asked for numbers"
    outcome = outcomes.get(evaluate_name(task, model))
    return f"{model.name}: {outcome.sentence if outcome else 'it was not run'}"


def _overrides(records: Mapping[str, EvaluationRecord], models: Sequence[Model]) -> list[str]:
    """Return the sentences of all encoders; those that all share are named once."""
    lines: dict[str, list[str]] = {}
    for model in models:
        for sentence in records[model.name]["overrides"] if model.name in records else []:
            lines.setdefault(sentence, []).append(model.name)
    return [
        sentence if len(names) == len(records) else f"{', '.join(names)}: {sentence}"
        for sentence, names in lines.items()
    ]


def _lost_windows(records: Mapping[str, EvaluationRecord]) -> list[str]:
    lost = {
        name: sum(part["failed"] for part in record["counts"].values())
        for name, record in records.items()
    }
    return [
        f"{name}: {counted(count, 'window')} could not be read"
        for name, count in lost.items()
        if count
    ]


def _digests(records: Mapping[str, EvaluationRecord]) -> dict[str, str]:
    first = next(iter(records.values()), None)
    if first is None:
        return {}
    return {
        "split": first["split"]["sha256"],
        **{f"corpus {name}": digest for name, digest in first["corpus"]["digests"].items()},
        **{f"model {name}": record["encoder"]["sha256"] for name, record in records.items()},
    }
