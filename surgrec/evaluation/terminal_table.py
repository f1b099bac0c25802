"""An evaluation on the terminal: the audit, the scores, and what they show."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from surgrec.evaluation.results import CLASSIFIER_NAMES, verdict_sentence
from surgrec.evaluation.scores import METRICS

_FEATURES = {"trained": "trained", "random": "random init", "none": ""}


def print_evaluation(evaluation: Mapping[str, Any], console: Console) -> None:
    """Shows the content of `evaluation.json`."""
    train, test = evaluation["counts"]["train"], evaluation["counts"]["test"]
    for check in evaluation["audit"]:
        console.print(
            f"{escape(check['check'])}: {check['found']} of {check['of']}", highlight=False
        )
    console.print(_scores(evaluation))
    console.print(
        f"n: {test['windows']} test windows of {test['cases']} cases ({test['unlabeled']} more without a label, "
        f"{test['failed']} failed); {train['windows']} train windows of {train['cases']} cases ({train['unlabeled']} "
        f"without a label, {train['failed']} failed)",
        highlight=False,
    )
    for verdict in evaluation["verdicts"]:
        console.print(verdict_sentence(verdict), style="bold", highlight=False)


def _scores(evaluation: Mapping[str, Any]) -> Table:
    title = f"{evaluation['task']}, split {evaluation['split']['name']}, 95 % intervals over cases"
    table = Table(title=escape(title), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("features", "classifier", *(metric.replace("_", " ") for metric in METRICS)):
        table.add_column(column)
    for row in evaluation["scores"]:
        seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
        name = CLASSIFIER_NAMES[row["classifier"]] + ("\nDEGENERATE" if row["degenerate"] else "")
        cells = [row["metrics"][metric] for metric in METRICS]
        scores = [f"{cell['value']:.3f}\n{cell['low']:.3f}-{cell['high']:.3f}" for cell in cells]
        table.add_row(_FEATURES[row["features"]] + seeds, name, *scores)
    return table
