"""Print an evaluation on the terminal: the audit, the scores and the verdicts."""

from collections.abc import Mapping
from typing import Any

from surgrec.evaluation._results import verdict_sentence
from surgrec.evaluation.probes import CLASSIFIER_LABELS
from surgrec.scores import METRICS
from surgrec.terminal import escape, print_result, result_table
from surgrec.text import counted

_FEATURES = {"trained": "trained", "random": "random init", "none": ""}


def print_evaluation(evaluation: Mapping[str, Any]) -> None:
    """Print the content of `evaluation.json` on standard output."""
    for check in evaluation["audit"]:
        print_result(f"{escape(check['check'])}: {check['found']} of {check['of']}")
    for override in evaluation["overrides"]:
        print_result(f"[yellow]{escape(override)}[/yellow]")

    _print_scores(evaluation)
    train, test = evaluation["counts"]["train"], evaluation["counts"]["test"]
    print_result(
        f"n: {counted(test['windows'], 'test window')} of {counted(test['cases'], 'case')} "
        f"({test['unlabeled']} more without a label, {test['failed']} failed); "
        f"{counted(train['windows'], 'train window')} of {counted(train['cases'], 'case')} "
        f"({train['unlabeled']} without a label, {train['failed']} failed)"
    )
    for verdict in evaluation["verdicts"]:
        print_result(f"[bold]{escape(verdict_sentence(verdict))}[/bold]")


def _print_scores(evaluation: Mapping[str, Any]) -> None:
    title = f"{evaluation['task']}, split {evaluation['split']['name']}, 95 % intervals over cases"
    columns = ("features", "classifier", *(metric.replace("_", " ") for metric in METRICS))
    table = result_table(escape(title), left=columns, right=(), wrap=True)

    for row in evaluation["scores"]:
        seeds = f", mean of {row['seeds']} seeds" if row["seeds"] > 1 else ""
        name = CLASSIFIER_LABELS[row["classifier"]] + ("\nDEGENERATE" if row["degenerate"] else "")
        cells = [row["metrics"][metric] for metric in METRICS]
        scores = [f"{cell['value']:.3f}\n{cell['low']:.3f}-{cell['high']:.3f}" for cell in cells]
        table.add_row(_FEATURES[row["features"]] + seeds, name, *scores)
    print_result(table)
