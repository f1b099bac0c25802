"""Draw the section about evaluations: verdicts first, then all scores and their origin."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from surgrec.evaluation import verdict_sentence
from surgrec.report._html import render
from surgrec.report._logged_run import LoggedRun
from surgrec.report._plots import COLORS, Chart, Interval, Line, interval_chart, line_chart
from surgrec.scores import LEVEL
from surgrec.scores.kinds import metric_name

Evaluated = tuple[LoggedRun, Mapping[str, Any]]
"""A run and the content of one of its `evaluation.json` files."""

_COMPARABLE = ("task", "kind", "scope", "split", "corpus", "metrics", "primary_metric")
"""Evaluations that agree in these fields share a chart and a table."""

_SAME_TEST = (*_COMPARABLE, "counts", "classes", "audit")
"""Evaluations that agree in these fields share the tables of windows, classes and audit."""

_FEATURE_COLORS = {
    "trained": COLORS[0],
    "random": COLORS[1],
    "pixels": COLORS[2],
    "none": COLORS[7],
}
_FEATURES = {"trained": "trained", "random": "random init", "pixels": "pixels", "none": "none"}
_COUNTS = ("cases", "videos", "windows", "unlabeled", "failed")


@dataclass(frozen=True, kw_only=True)
class _TestSet:
    """Tables that are equal for several evaluations."""

    members: list[Evaluated]
    counts: list[list[object]]
    class_columns: list[str]
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
    metrics: list[str]
    members: list[Evaluated]
    primary_metric: str
    chart: Chart
    few_shot: list[list[object]]
    """A row for each number of train cases and each probe, of all runs."""
    few_shot_chart: Chart
    """The primary metric over the number of train cases, up to all of them."""
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
        metric_name=metric_name,
        number=_number,
        count_columns=("part", *_COUNTS),
        features_name=_features_name,
        verdict_sentence=verdict_sentence,
        overrides=_overrides(evaluated),
    )


def _overrides(evaluated: Sequence[Evaluated]) -> list[tuple[str, str]]:
    """Return each finding of an audit that only an option allowed, with its evaluation."""
    return [
        (f"{run.name}, {evaluation['task']}", sentence)
        for run, evaluation in evaluated
        for sentence in evaluation["overrides"]
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
    metric = metric_name(first["primary_metric"])
    title = f"{metric}, {LEVEL:.0%} interval over {_units(members)}"
    return _Comparison(
        task=first["task"],
        split=first["split"]["name"],
        metrics=first["metrics"],
        members=members,
        primary_metric=first["primary_metric"],
        chart=interval_chart(_intervals(members), title=title, chart_id=chart_id),
        few_shot=_few_shot(members),
        few_shot_chart=line_chart(
            _few_shot_lines(members),
            title=f"{metric} by train cases, the last point with all of them",
            chart_id=f"few {chart_id}",
            x_label="train cases",
        ),
        tests=[_test_set(group) for group in _groups(members, _SAME_TEST)],
    )


def _units(members: Sequence[Evaluated]) -> str:
    """Return the units that the intervals draw: the outermost that groups test cases."""
    names = {next(iter(each.get("units", ())), "cases") for _, each in members}
    return " or ".join(sorted(names))


def _intervals(members: Sequence[Evaluated]) -> dict[str, list[Interval]]:
    """Return the intervals of each classifier over all runs.

    Classifiers without features come last. Their intervals are listed once if runs agree in them.
    """
    groups: dict[str, list[Interval]] = {}
    baselines: dict[str, Interval] = {}
    for run, evaluation in members:
        for score in evaluation["scores"]:
            classifier = evaluation["classifiers"][score["classifier"]]
            primary = score["metrics"][evaluation["primary_metric"]]
            if None in primary.values():  # undefined, as the correlation of a constant prediction
                continue
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


def _few_shot(members: Sequence[Evaluated]) -> list[list[object]]:
    """Return the primary metric of the probes on each number of train cases, and its verdict."""
    rows: list[list[object]] = []
    for run, evaluation in members:
        for amount in evaluation.get("few_shot", ()):
            verdicts = {each["classifier"]: each["verdict"] for each in amount["verdicts"]}
            for score in amount["scores"]:
                name = score["classifier"]
                cell = score["metrics"][evaluation["primary_metric"]]
                value, low, high = (_number(cell[key]) for key in ("value", "low", "high"))
                rows.append(
                    [
                        run.name,
                        _FEATURES[score["features"]],
                        evaluation["classifiers"][name],
                        f"{amount['cases']} ({amount['subsets']} subsets)",
                        f"{value} [{low}, {high}]",
                        verdicts.get(name, "") if score["features"] == "trained" else "",
                    ]
                )
    return rows


def _few_shot_lines(members: Sequence[Evaluated]) -> list[Line]:
    """Return the primary metric of each probe over the number of train cases, for all runs."""
    points: dict[tuple[str, str, str], list[tuple[int, float]]] = {}
    for run, evaluation in members:
        amounts = evaluation.get("few_shot", ())

        # The fit on all train cases is the last point of each line.
        everything = {
            "cases": evaluation["counts"]["train"]["cases"],
            "scores": evaluation["scores"] if amounts else (),
        }

        for amount in (*amounts, everything):
            for score in amount["scores"]:
                value = score["metrics"][evaluation["primary_metric"]]["value"]
                classifier = evaluation["classifiers"][score["classifier"]]
                if value is not None and score["features"] != "none":
                    line = points.setdefault((run.name, score["features"], classifier), [])
                    line.append((amount["cases"], value))

    return [
        Line(
            points=line,
            label=f"{run}, {_FEATURES[features]}, {classifier}",
            dashed=features == "random",
        )
        for (run, features, classifier), line in points.items()
    ]


def _test_set(members: list[Evaluated]) -> _TestSet:
    evaluation = members[0][1]
    split = evaluation["split"]
    parts = [part for part in ("train", "val", "test") if part in evaluation["counts"]]
    units = "videos" if evaluation["scope"] == "video" else "windows"

    return _TestSet(
        members=members,
        counts=[[part, *(evaluation["counts"][part][name] for name in _COUNTS)] for part in parts],
        class_columns=["class", *(f"{part} {units}" for part in parts)],
        classes=[[row["value"], *map(row.get, parts)] for row in evaluation["classes"]],
        audit=[[row["check"], f"{row['found']} of {row['of']}"] for row in evaluation["audit"]],
        split_rule=json.dumps(split["rule"], indent=1, ensure_ascii=False),
        split_sha256=split["sha256"],
        corpus_digests=evaluation["corpus"]["digests"],
    )


def _features_name(score: Mapping[str, Any]) -> str:
    seeds = f", {score['seeds']} seeds" if score["seeds"] > 1 else ""
    return _FEATURES[score["features"]] + (seeds if score["features"] == "random" else "")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
