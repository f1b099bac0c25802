"""The section on the evaluations: what they show, in words; then every score, what it was taken from, and how."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from surgrec.evaluation import CLASSIFIER_NAMES, LEVEL, METRICS, PRIMARY, verdict_sentence
from surgrec.report.html import Markup, details, element, join, missing, note, table
from surgrec.report.plots import COLORS, Interval, interval_chart
from surgrec.report.runs import Run

Evaluated = tuple[Run, Mapping[str, Any]]
"""A run and the content of an evaluation.json of it."""

_COMPARABLE = ("task", "split", "corpus")
"""Evaluations that have these in common share a chart and a table."""
_SAME_TEST = (*_COMPARABLE, "counts", "classes", "audit")
"""What is said once of all evaluations that have it in common."""
_FEATURES_COLORS = {"trained": COLORS[0], "random": COLORS[1], "none": COLORS[7]}
_COUNTS = ("cases", "videos", "windows", "unlabeled", "failed")


def evaluation_section(runs: Sequence[Run]) -> Markup:
    """Verdicts on all runs, then the scores of each task and split."""
    evaluated = [(run, evaluation) for run in runs for evaluation in run.evaluations]
    parts = [element("h2", "Evaluation on held-out cases")]
    if evaluated:
        parts.append(element("ul", *(_verdicts(*each) for each in evaluated), class_="verdicts"))
    parts += [_not_evaluated(run) for run in runs if not run.evaluations]
    parts += [
        _outdated(run, evaluation) for run, evaluation in evaluated if _is_outdated(run, evaluation)
    ]
    parts += [_scores(members) for members in _groups(evaluated, _COMPARABLE)]
    return element("section", *parts)


def _verdicts(run: Run, evaluation: Mapping[str, Any]) -> Markup:
    about = element("b", f"{run.name}, {evaluation['task']}: ")
    return join(
        element("li", about, verdict_sentence(verdict), class_=verdict["verdict"].replace(" ", "-"))
        for verdict in evaluation["verdicts"]
    )


def _not_evaluated(run: Run) -> Markup:
    if run.trained is None:
        return missing(f"{run.name} has no encoder to evaluate yet.")
    command = f"surgrec evaluate {' '.join(run.corpora)} --encoder {run.run_dir} --task TASK --split SPLIT.yaml"
    return missing(f"{run.name} has not been evaluated. This does it: ", element("code", command))


def _is_outdated(run: Run, evaluation: Mapping[str, Any]) -> bool:
    return (
        run.trained is not None and evaluation["encoder"]["sha256"] != run.trained.facts["sha256"]
    )


def _outdated(run: Run, evaluation: Mapping[str, Any]) -> Markup:
    return missing(
        f"The evaluation of {run.name} on {evaluation['task']} is of another encoder than the one that the run holds now; "
        "evaluate again."
    )


def _groups(evaluated: Sequence[Evaluated], keys: Sequence[str]) -> list[list[Evaluated]]:
    """Evaluations that agree in these keys, in the order in which they come."""
    groups: dict[str, list[Evaluated]] = {}
    for run, evaluation in evaluated:
        what = json.dumps([evaluation[key] for key in keys], sort_keys=True)
        groups.setdefault(what, []).append((run, evaluation))
    return list(groups.values())


def _scores(members: Sequence[Evaluated]) -> Markup:
    """Chart and table of one task and split, and what the scores were taken from."""
    first = members[0][1]
    columns = ("run", "features", "classifier", *map(_metric_name, METRICS))
    rows = [_score_row(run, score) for run, evaluation in members for score in evaluation["scores"]]
    title = f"{_metric_name(PRIMARY)} over test windows, {LEVEL:.0%} interval over cases"
    return join(
        [
            element("h3", f"{first['task']}, split {first['split']['name']}"),
            interval_chart(_intervals(members), title=title),
            table(columns, rows, words=3),
            *(_test(same) for same in _groups(members, _SAME_TEST)),
        ]
    )


def _intervals(members: Sequence[Evaluated]) -> dict[str, list[Interval]]:
    """Dots by classifier, those of all runs below each other; what knows no features comes last, and once where equal."""
    groups: dict[str, list[Interval]] = {CLASSIFIER_NAMES[name]: [] for name in ("knn", "logistic")}
    baselines: dict[str, Interval] = {}
    for run, evaluation in members:
        for score in evaluation["scores"]:
            classifier, primary = CLASSIFIER_NAMES[score["classifier"]], score["metrics"][PRIMARY]
            dot = Interval(
                label=f"{run.name}, {_features_name(score)}",
                color=_FEATURES_COLORS[score["features"]],
                **{name: primary[name] for name in ("value", "low", "high")},
            )
            if score["features"] == "none":
                baselines.setdefault(f"{classifier} {primary}", replace(dot, label=classifier))
            else:
                groups[classifier].append(dot)
    groups["without features"] = list(baselines.values())
    return {name: dots for name, dots in groups.items() if dots}


def _score_row(run: Run, score: Mapping[str, Any]) -> list[object]:
    metrics = [_value(score["metrics"][metric]) for metric in METRICS]
    classifier = join(
        [
            CLASSIFIER_NAMES[score["classifier"]],
            element("em", "degenerate") if score["degenerate"] else "",
        ]
    )
    return [run.name, _features_name(score), classifier, *metrics]


def _value(metric: Mapping[str, float]) -> Markup:
    return join(
        [f"{metric['value']:.3f}", element("small", f"[{metric['low']:.3f}, {metric['high']:.3f}]")]
    )


def _test(same: Sequence[Evaluated]) -> Markup:
    """What the scores of evaluations with the same test were taken from."""
    evaluation = same[0][1]
    split, corpus = evaluation["split"], evaluation["corpus"]
    counts = [
        (part, *(evaluation["counts"][part][name] for name in _COUNTS))
        for part in ("train", "test")
    ]
    classes = [(row["value"], row["train"], row["test"]) for row in evaluation["classes"]]
    audit = [(row["check"], f"{row['found']} of {row['of']}") for row in evaluation["audit"]]
    digests = [(name, element("code", digest)) for name, digest in corpus["digests"].items()]
    return join(
        [
            element("h4", f"Windows, classes and audit: {', '.join(run.name for run, _ in same)}"),
            element(
                "div",
                element("div", table(("part", *_COUNTS), counts), table(("audit", "found"), audit)),
                table(("class", "train windows", "test windows"), classes),
                class_="columns",
            ),
            details(
                "Protocol, split rule and corpus digests",
                *(
                    element("p", element("b", f"{run.name}: "), each["protocol"])
                    for run, each in same
                ),
                element("pre", json.dumps(split["rule"], indent=1, ensure_ascii=False)),
                note("SHA-256 of the split file: ", element("code", split["sha256"])),
                table(("source", "SHA-256 over its clips"), digests, words=2),
            ),
        ]
    )


def _features_name(score: Mapping[str, Any]) -> str:
    seeds = f", {score['seeds']} seeds" if score["seeds"] > 1 else ""
    return {"trained": "trained", "random": f"random init{seeds}", "none": "none"}[
        score["features"]
    ]


def _metric_name(metric: str) -> str:
    return metric.replace("_", " ").replace("f1", "F1")
