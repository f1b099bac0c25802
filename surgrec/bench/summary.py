"""The rows of a benchmark, and the files with their full numbers."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from surgrec import __version__
from surgrec.bench._bench import COMPARISON, Bench
from surgrec.bench._cards import card_rows, standings
from surgrec.bench._copies import without_folders
from surgrec.bench._models import BenchVlm
from surgrec.bench._results import PairRow, pairs_of, wins_of
from surgrec.bench._runner import Outcome
from surgrec.bench._tables import TaskRow, methods_of, task_row
from surgrec.storage import open_store

TABLE, CONTENT = "scores.csv", "bench.json"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The rows of a benchmark."""

    rows: list[TaskRow]
    """One for each task; the folds of a card are tasks."""
    cards: list[TaskRow]
    """One for each card: that of its task, or the mean over its folds."""
    methods: list[str]
    wins: Mapping[str, tuple[int, int]]
    pairs: list[PairRow]
    """Differences of the arms of an ablation."""

    @property
    def shown(self) -> list[TaskRow]:
        """The row of each card, followed by those of its folds."""
        found = []
        for card in self.cards:
            folds = [row for row in self.rows if row.name in card.folds]
            found += [card, *folds]
        return found


def summarize(bench: Bench, outcomes: Mapping[str, Outcome]) -> Summary:
    """Return the rows of a benchmark from the files of its steps."""
    plan, out = bench.plan, bench.out
    compared = outcomes.get(f"compare/{COMPARISON}")
    is_compared = compared is not None and compared.is_done
    arms = bench.arms.ablation.arms if bench.arms else ()
    rows = [task_row(task, plan.models, outcomes, out) for task in plan.tasks]
    return Summary(
        rows=rows,
        cards=card_rows(rows, out / COMPARISON if is_compared else None),
        methods=methods_of(plan.models),
        wins=wins_of(out / COMPARISON) if is_compared else {},
        pairs=pairs_of(out / COMPARISON, *arms) if is_compared and arms else [],
    )


def legacy_sentences(rows: Iterable[TaskRow]) -> list[str]:
    """Return a sentence for each legacy task: it has no score, but the result of an audit."""
    return [
        f"{row.name} is a legacy task, which is audited and never scored: {row.audit_result}"
        for row in rows
        if row.task.card.legacy
    ]


def count_scores(summary: Summary) -> tuple[int, int]:
    """Return the number of scores, and that of cells that may have one."""
    cells = [cell for row in summary.rows if not row.task.card.legacy for cell in row.cells]
    return sum(cell.score is not None for cell in cells), len(cells)


def relative_outcomes(bench: Bench, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return how steps ended, with the names of files relative to the folders of the benchmark.

    These are its own folder, the copies, and the folders of the models. Pages and tables are sent
    to others, so they do not show where the files are.
    """
    plan = bench.plan
    folders = {bench.out, *(task.folder for task in plan.tasks)}
    places = [
        model.place if isinstance(model, BenchVlm) else model.path
        for model in plan.models
        if not (model.is_served if isinstance(model, BenchVlm) else model.is_named)
    ]
    folders |= {Path(place).parent for place in places}
    return {
        name: replace(outcome, sentence=without_folders(outcome.sentence, folders))
        for name, outcome in outcomes.items()
    }


def write_tables(bench: Bench, summary: Summary) -> None:
    """Write `scores.csv` and `bench.json`. The same results give the same bytes."""
    store = open_store(bench.out)
    store.write(TABLE, _csv(summary).encode())
    content = json.dumps(_content(summary), indent=1, sort_keys=True, allow_nan=False)
    store.write(CONTENT, f"{content}\n".encode())


def _csv(summary: Summary) -> str:
    """Return one row per task and method, with full numbers."""
    buffer = io.StringIO()
    rows = [
        {
            "task": row.name,
            "fold_of": row.task.card.name if row.name != row.task.card.name else "",
            "domain": row.task.card.domain,
            "legacy": row.task.card.legacy,
            "split": row.split,
            "metric": row.task.card.metric,
            "method": cell.method,
            "value": cell.score.value if cell.score else math.nan,
            "low": cell.score.low if cell.score else math.nan,
            "high": cell.score.high if cell.score else math.nan,
            "degenerate": bool(cell.score and cell.score.degenerate),
            "rank": "" if cell.rank is None else f"{cell.rank:g}",
            "over_random": cell.verdict,
            "test_cases": row.num_cases,
            "test_videos": row.num_videos,
            "test_windows": row.num_windows,
            "scored": "videos" if row.task.card.scope == "video" else "windows",
            "overrides": len(row.overrides),
            "sentence": cell.sentence,
        }
        for row in summary.shown
        for cell in row.cells
    ]

    writer = csv.DictWriter(buffer, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _content(summary: Summary) -> dict[str, Any]:
    """Return the rows as JSON values; undefined numbers are null."""
    found = standings(
        [row for row in summary.cards if not row.task.card.legacy], summary.methods, summary.wins
    )
    return {
        "format": 1,
        "surgrec": __version__,
        "methods": summary.methods,
        # One entry per task or fold, with a cell per method.
        "tasks": [
            {
                "name": row.name,
                "folds": list(row.folds),
                "domain": row.task.card.domain,
                "legacy": row.task.card.legacy,
                "metric": row.task.card.metric,
                "split": row.split,
                "sentence": row.sentence,
                "incomplete": row.incomplete,
                "losses": row.losses,
                "findings": row.findings,
                "overrides": row.overrides,
                "digests": row.digests,
                "protocol": row.protocol,
                "vlm_protocols": row.vlm_protocols,
                "cells": [
                    {
                        "method": cell.method,
                        "value": _or_null(cell.score.value if cell.score else math.nan),
                        "low": _or_null(cell.score.low if cell.score else math.nan),
                        "high": _or_null(cell.score.high if cell.score else math.nan),
                        "degenerate": bool(cell.score and cell.score.degenerate),
                        "rank": cell.rank,
                        "over_random": cell.verdict,
                        "sentence": cell.sentence,
                    }
                    for cell in row.cells
                ],
            }
            for row in summary.shown
        ],
        "ablation": [
            {name: _or_null(x) if isinstance(x, float) else x for name, x in asdict(pair).items()}
            for pair in summary.pairs
        ],
        # Ranks and verdicts over all tasks but the legacy ones.
        "standings": [
            {
                "method": each.method,
                "tasks": each.data_sets,
                "mean_rank": _or_null(each.rank),
                "better": each.better,
                "worse": each.worse,
            }
            for each in found
        ],
    }


def _or_null(value: float) -> float | None:
    return value if math.isfinite(value) else None
