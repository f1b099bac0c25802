"""Draw the section about evaluations: verdicts first, then all scores and their origin."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from surgrec.evaluation import CLASSIFIER_LABELS, verdict_sentence
from surgrec.report._html import render
from surgrec.report._logged_run import LoggedRun
from surgrec.report._plots import COLORS, Chart, Interval, interval_chart
from surgrec.scores import LEVEL, METRICS, PRIMARY

Evaluated = tuple[LoggedRun, Mapping[str, Any]]
"""A run and the content of one of its `evaluation.json` files."""

_COMPARABLE = ("task", "split", "corpus")
"""Evaluations that agree in these fields share a chart and a table."""

_SAME_TEST = (*_COMPARABLE, "counts", "classes", "audit")
"""Evaluations that agree in these fields share the tables of windows, classes and audit."""

_FEATURE_COLORS = {"trained": COLORS[0], "random": COLORS[1], "none": COLORS[7]}
_COUNTS = ("cases", "videos", "windows", "unlabeled", "failed")


@dataclass(frozen=True, kw_only=True)
class _TestSet:
    """Tables that are equal for several evaluations."""

    members: list[Evaluated]
    counts: list[list[object]]
    classes: list[list[object]]
    audit: list[list[object]]
    split_rule: str
    split_sha256: str
    corpus_digests: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """Evaluations on the same task, split and corpus."""

    task: str
    split: str
    members: list[Evaluated]
    chart: Chart
    tests: list[_TestSet]


def evaluation_section(runs: Sequence[LoggedRun]) -> Markup:
    """Return the verdicts of all runs, then the scores of each task and split."""
    evaluated = [(run, evaluation) for run in runs for evaluation in run.evaluations]
    groups = _groups(evaluated, _COMPARABLE)

    return render(
        "evaluation.html.j2",
        evaluated=evaluated,
        not_evaluated=[run for run in runs if not run.evaluations],
        outdated=[each for each in evaluated if _is_outdated(*each)],
        comparisons=[_compare(members, f"scores {index}") for index, members in enumerate(groups)],
        metrics={metric: _metric_name(metric) for metric in METRICS},
        count_columns=("part", *_COUNTS),
        classifier_names=CLASSIFIER_LABELS,
        features_name=_features_name,
        verdict_sentence=verdict_sentence,
        overrides=_overrides(evaluated),
    )


def _overrides(evaluated: Sequence[Evaluated]) -> list[tuple[str, str]]:
    """Return each finding of an audit that only an option allowed, with its evaluation."""
    return [
        (f"{run.name}, {evaluation['task']}", sentence)
        for run, evaluation in evaluated
        for sentence in evaluation.get("overrides", ())  # older files have none
    ]


def _is_outdated(run: LoggedRun, evaluation: Mapping[str, Any]) -> bool:
    """Return whether an evaluation is of an earlier encoder of the run."""
    if run.trained is None:
        return False
    return bool(evaluation["encoder"]["sha256"] != run.trained.facts["sha256"])


def _groups(evaluated: Sequence[Evaluated], fields: Sequence[str]) -> list[list[Evaluated]]:
    """Group evaluations that agree in these fields. Groups and members keep their order."""
    groups: dict[str, list[Evaluated]] = {}
    for run, evaluation in evaluated:
        values = json.dumps([evaluation[field] for field in fields], sort_keys=True)
        groups.setdefault(values, []).append((run, evaluation))
    return list(groups.values())


def _compare(members: list[Evaluated], chart_id: str) -> _Comparison:
    first = members[0][1]
    title = f"{_metric_name(PRIMARY)} over test windows, {LEVEL:.0%} interval over cases"
    return _Comparison(
        task=first["task"],
        split=first["split"]["name"],
        members=members,
        chart=interval_chart(_intervals(members), title=title, chart_id=chart_id),
        tests=[_test_set(group) for group in _groups(members, _SAME_TEST)],
    )


def _intervals(members: Sequence[Evaluated]) -> dict[str, list[Interval]]:
    """Return the intervals of each classifier over all runs.

    Classifiers without features come last. Their intervals are listed once if runs agree in them.
    """
    groups: dict[str, list[Interval]] = {}
    baselines: dict[str, Interval] = {}
    for run, evaluation in members:
        for score in evaluation["scores"]:
            classifier, primary = CLASSIFIER_LABELS[score["classifier"]], score["metrics"][PRIMARY]
            interval = Interval(
                label=f"{run.name}, {_features_name(score)}",
                color=_FEATURE_COLORS[score["features"]],
                **{name: primary[name] for name in ("value", "low", "high")},
            )

            if score["features"] == "none":
                baseline = replace(interval, label=classifier)
                baselines.setdefault(f"{classifier} {primary}", baseline)
            else:
                groups.setdefault(classifier, []).append(interval)

    if baselines:
        groups["without features"] = list(baselines.values())
    return groups


def _test_set(members: list[Evaluated]) -> _TestSet:
    evaluation = members[0][1]
    split = evaluation["split"]

    return _TestSet(
        members=members,
        counts=[
            [part, *(evaluation["counts"][part][name] for name in _COUNTS)]
            for part in ("train", "test")
        ],
        classes=[[row["value"], row["train"], row["test"]] for row in evaluation["classes"]],
        audit=[[row["check"], f"{row['found']} of {row['of']}"] for row in evaluation["audit"]],
        split_rule=json.dumps(split["rule"], indent=1, ensure_ascii=False),
        split_sha256=split["sha256"],
        corpus_digests=evaluation["corpus"]["digests"],
    )


def _features_name(score: Mapping[str, Any]) -> str:
    seeds = f", {score['seeds']} seeds" if score["seeds"] > 1 else ""
    names = {"trained": "trained", "random": f"random init{seeds}", "none": "none"}
    return names[score["features"]]


def _metric_name(metric: str) -> str:
    return metric.replace("_", " ").replace("f1", "F1")
