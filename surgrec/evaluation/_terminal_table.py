"""Print an evaluation on the terminal: the audit, the scores and the verdicts."""

from collections.abc import Mapping, Sequence
from typing import Any

from surgrec.evaluation._results import verdict_sentence
from surgrec.scores.kinds import metric_name
from surgrec.terminal import escape, print_result, result_table
from surgrec.text import counted

_MOST_METRICS = 4
"""Metrics of one table. More would cut their intervals on a terminal of 80 columns."""
_FEATURES = {"trained": "trained", "random": "random init", "pixels": "pixels", "none": ""}


def print_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Print the content of `evaluation.json` on standard output."""
    for check in evaluation["audit"]:
        print_result(f"{escape(check['check'])}: {check['found']} of {check['of']}")
    for override in evaluation["overrides"]:
        print_result(f"[yellow]{escape(override)}[/yellow]")

    _print_scores(evaluation)
    if evaluation["few_shot"]:
        _print_few_shot(evaluation)
    counts = evaluation["counts"]
    parts = [
        f"{counted(counts[part]['windows'], f'{part} window')} of "
        f"{counted(counts[part]['cases'], 'case')} ({counts[part]['unlabeled']} more without a "
        f"label, {counts[part]['failed']} failed)"
        for part in ("test", "val", "train")
        if part in counts
    ]
    print_result(f"n: {'; '.join(parts)}")
    if evaluation["scope"] == "video":
        videos = counted(counts["test"]["videos"], "test video")
        print_result(f"scored: {videos}, each by the mean over its windows")
    for verdict in evaluation["verdicts"]:
        sentence = verdict_sentence(verdict, evaluation["classifiers"])
        print_result(f"[bold]{escape(sentence)}[/bold]")


def _print_scores(evaluation: Mapping[str, Any]) -> None:
    metrics = evaluation["metrics"]
    for first in range(0, len(metrics), _MOST_METRICS):
        _print_metrics(evaluation, metrics[first : first + _MOST_METRICS])


def _print_metrics(evaluation: Mapping[str, Any], metrics: Sequence[str]) -> None:
    title = f"{evaluation['task']}, split {evaluation['split']['name']}, 95 % intervals"
    columns = ("features", "classifier", *map(metric_name, metrics))
    table = result_table(escape(title), left=columns, right=(), wrap=True)

    for row in evaluation["scores"]:
        seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
        name = evaluation["classifiers"][row["classifier"]]
        name = escape(name) + ("\nDEGENERATE" if row["degenerate"] else "")
        scores = [_cell(row["metrics"][metric]) for metric in metrics]
        table.add_row(_FEATURES[row["features"]] + seeds, name, *scores)
    print_result(table)


def _print_few_shot(evaluation: Mapping[str, Any]) -> None:
    """Print the primary metric for each number of train cases."""
    metric = evaluation["primary_metric"]
    subsets = counted(evaluation["few_shot"][0]["subsets"], "subset")
    title = f"few-shot, {metric_name(metric)}, mean of {subsets}, 95 % intervals"
    columns = [
        f"{row['amount']} ({counted(row['cases'], 'case')})" for row in evaluation["few_shot"]
    ]
    table = result_table(
        escape(title), left=("features", "classifier", *columns), right=(), wrap=True
    )

    for number, score in enumerate(evaluation["few_shot"][0]["scores"]):
        cells = [_cell(row["scores"][number]["metrics"][metric]) for row in evaluation["few_shot"]]
        name = escape(evaluation["classifiers"][score["classifier"]])
        table.add_row(_FEATURES[score["features"]], name, *cells)
    print_result(table)


def _cell(number: Mapping[str, float | None]) -> str:
    value, low, high = (
        "-" if number[name] is None else f"{number[name]:.3f}" for name in ("value", "low", "high")
    )
    return value if value == "-" else f"{value}\n{low}-{high}"
