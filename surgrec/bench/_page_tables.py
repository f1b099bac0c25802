"""Tables of the page of a benchmark: ranks and wins, and an ablation."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from surgrec.bench._ablation import Arms
from surgrec.bench._cards import standings
from surgrec.bench._tables import Cell, TaskRow
from surgrec.bench.summary import Summary
from surgrec.comparisons import Table, number, standing_table
from surgrec.scores.kinds import metric_name
from surgrec.text import counted


def standing_tables(summary: Summary) -> list[Table]:
    """Return the table over all tasks, and one for each domain. Legacy rows do not count."""
    rows = [row for row in summary.cards if not row.task.card.legacy]
    tables = [
        _table(
            "all tasks",
            rows,
            summary,
            wins=summary.wins,
            note="Ranks are averaged over the tasks in which every method has a score that is not "
            "degenerate; a task with folds counts once, by the mean over its folds. Wins and "
            "losses are verdicts of paired comparisons over cases, corrected for all pairs and "
            "tasks (Holm).",
        )
    ]

    # A mean of scores needs tasks with one metric, which a domain may have.
    for domain in dict.fromkeys(row.task.card.domain for row in rows):
        own = [row for row in rows if row.task.card.domain == domain]
        metrics = sorted({metric_name(row.task.card.metric) for row in own})
        note = _mean_note(own, summary.methods, metrics)
        tables.append(_table(domain, own, summary, wins=None, note=note))
    return tables


def ablation_tables(arms: Arms | None, summary: Summary) -> list[Table]:
    """Return the paired differences of the arms of an ablation."""
    if arms is None:
        return []

    ablation = arms.ablation
    first, second = ablation.arms
    seeds = ", ".join(map(str, arms.seeds))
    return [
        Table(
            title=ablation.title,
            columns=["task", "split", "metric", f"verdict of {first}", "difference", "p (Holm)"],
            rows=[
                [
                    pair.task,
                    pair.split,
                    metric_name(pair.metric),
                    pair.verdict,
                    f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]",
                    number(pair.p_holm),
                ]
                for pair in summary.pairs
            ],
            names=4,
            note=f"{ablation.question} {first} minus {second}, paired over cases, each as the mean "
            f"over the pretraining seeds {seeds}. The recorded configs of the runs differ in "
            f"{', '.join(arms.differs)}, and in nothing else.",
        )
    ]


def _mean_note(rows: Sequence[TaskRow], methods: Sequence[str], metrics: Sequence[str]) -> str:
    """Return the mean score of each method, if all tasks have the same metric."""
    if len(metrics) > 1:
        return f"No mean of scores: the tasks have the metrics {', '.join(metrics)}."
    ranked = [row for row in rows if row.is_ranked]
    if len(ranked) < 2:
        return ""
    means = [
        f"{method} {number(fmean(_value(row.cells[place]) for row in ranked))}"
        for place, method in enumerate(methods)
    ]
    return f"Mean {metrics[0]} over {counted(len(ranked), 'task')}: {', '.join(means)}."


def _table(
    title: str,
    rows: Sequence[TaskRow],
    summary: Summary,
    *,
    wins: Mapping[str, tuple[int, int]] | None,
    note: str,
) -> Table:
    """Return the standings of all methods over some cards."""
    found = standings(rows, summary.methods, wins or {})
    cells = [[row.cells[place] for row in rows] for place in range(len(summary.methods))]
    return standing_table(
        title,
        found,
        with_verdicts=wins is not None,
        further={
            "tasks": [each.data_sets for each in found],
            "degenerate cells": [
                sum(bool(cell.score and cell.score.degenerate) for cell in own) for own in cells
            ],
            "cells without a score": [sum(cell.score is None for cell in own) for own in cells],
        },
        note=note,
    )


def _value(cell: Cell) -> float:
    return cell.score.value if cell.score else math.nan
