"""One row for each card: that of its task, or the mean over the folds of the card."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from surgrec.bench._results import Score, compared_scores
from surgrec.bench._tables import Cell, TaskRow, ranked
from surgrec.comparisons import Standing
from surgrec.text import counted


def card_rows(rows: Sequence[TaskRow], comparison: Path | None) -> list[TaskRow]:
    """Return one row for each card, in the order of the rows.

    A score is the mean over the folds. Its interval is over the cases of all folds, from the
    comparison of all tasks; without one it has none.

    Args:
        rows: The rows, one for each fold.
        comparison: Folder of the comparison of all tasks; None: there is none.
    """
    by_card: dict[str, list[TaskRow]] = {}
    for row in rows:
        by_card.setdefault(row.task.card.name, []).append(row)
    return [
        folds[0] if len(folds) == 1 else _mean_row(folds, comparison) for folds in by_card.values()
    ]


def standings(
    rows: Sequence[TaskRow], methods: Sequence[str], wins: Mapping[str, tuple[int, int]]
) -> list[Standing]:
    """Return each method over some cards, those in which every method has a rank.

    Args:
        rows: One row for each card.
        methods: The methods.
        wins: Better and worse verdicts of each method.
    """
    places = [row for row in rows if row.is_ranked]
    found = []
    for number, method in enumerate(methods):
        ranks = [cell.rank for row in places if (cell := row.cells[number]).rank is not None]
        better, worse = wins.get(method, (0, 0))
        found.append(
            Standing(
                method=method,
                data_sets=len(places),
                mean=math.nan,
                rank=float(np.mean(ranks)) if ranks else math.nan,
                better=better,
                worse=worse,
            )
        )
    return found


def _mean_row(folds: Sequence[TaskRow], comparison: Path | None) -> TaskRow:
    """Return the row of a card with folds."""
    first = folds[0]
    card = first.task.card

    # A mean over folds has an interval only from a comparison of all folds.
    compared: Mapping[str, Score] = {}
    if comparison is not None and all(row.split_name for row in folds):
        compared = compared_scores(
            comparison,
            card.metric,
            first.classifiers,
            task=card.task,
            splits=[row.split_name for row in folds],
        )

    sentences = {row.sentence for row in folds}
    cells = [_mean_cell(folds, place, compared) for place in range(len(first.cells))]
    return replace(
        first,
        cells=ranked(cells, card.metric) if all(row.is_ranked for row in folds) else cells,
        split=f"mean over {counted(len(folds), 'fold')} ({card.split_kind})",
        findings=_of_all(row.findings for row in folds),
        overrides=_of_all(row.overrides for row in folds),
        incomplete=_of_all(row.incomplete for row in folds),
        losses=_of_all(row.losses for row in folds),
        sentence=sentences.pop() if len(sentences) == 1 else "",
        num_cases=sum(row.num_cases for row in folds),
        num_videos=sum(row.num_videos for row in folds),
        num_windows=sum(row.num_windows for row in folds),
        is_compared=bool(compared),
        has_audit=False,
        folds=tuple(row.name for row in folds),
    )


def _mean_cell(folds: Sequence[TaskRow], place: int, compared: Mapping[str, Score]) -> Cell:
    """Return the cell of a method in the row of a card."""
    cells = [row.cells[place] for row in folds]
    method = cells[0].method
    scores = [cell.score for cell in cells if cell.score is not None]
    if len(scores) < len(cells):
        lacking = [row.name for row, cell in zip(folds, cells, strict=True) if cell.score is None]
        sentence = f"it has no score on {counted(len(lacking), 'fold')}, such as {lacking[0]}"
        return Cell(method=method, score=None, verdict="", rank=None, sentence=sentence)
    own = Score(
        value=float(np.mean([score.value for score in scores])),
        low=math.nan,
        high=math.nan,
        degenerate=any(score.degenerate for score in scores),
    )
    return Cell(method=method, score=compared.get(method) or own, verdict="", rank=None)


def _of_all(lists: Iterable[Sequence[str]]) -> list[str]:
    """Return the sentences of all folds, each once."""
    return list(dict.fromkeys(each for sentences in lists for each in sentences))
