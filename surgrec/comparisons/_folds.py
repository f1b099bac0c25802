"""The mean over the folds of a task: scores, and paired differences over the cases of all folds."""

from collections.abc import Sequence
from dataclasses import replace

from surgrec.comparisons._pairs import pair_methods
from surgrec.comparisons._records import DataSet, FoldMean, Row
from surgrec.comparisons._rows import estimates
from surgrec.scores.folds import fold_tables
from surgrec.scores.units import Units, units_of_folds


def fold_means(
    data_sets: Sequence[DataSet], folds: Sequence[Sequence[str]]
) -> tuple[list[FoldMean], list[str]]:
    """Return the mean over the folds of each task and primary classifier.

    Test sets are drawn within each fold, so an interval is over the cases of all folds. Folds with
    a common test case are not independent: they have no mean, and a sentence names them.

    Args:
        data_sets: All data sets.
        folds: Names of splits that are folds of one task.

    Returns:
        The means, and the sentences.
    """
    found: list[FoldMean] = []
    sentences: list[str] = []
    for splits in folds:
        by_task: dict[tuple[str, str], list[DataSet]] = {}
        for each in data_sets:
            if each.split in splits:
                by_task.setdefault((each.task, each.primary), []).append(each)
        for members in by_task.values():
            shared = _shared_case(members)
            if shared:
                sentences.append(shared)
            elif len(members) > 1:
                found.append(_mean(members))
    return found, sentences


def _mean(folds: Sequence[DataSet]) -> FoldMean:
    first = folds[0]
    name = f"{first.task}, mean over the folds {', '.join(each.split for each in folds)}"
    units = units_of_folds([each.units for each in folds])

    # A row counts if all folds have it, with equal numbers of seeds.
    keys = [(row.method, row.features, row.classifier) for row in first.rows]
    by_key = [
        {(row.method, row.features, row.classifier): row for row in each.rows} for each in folds
    ]
    rows = [
        _row([rows[key] for rows in by_key], units)
        for key in keys
        if all(key in rows for rows in by_key) and len({rows[key].seeds for rows in by_key}) == 1
    ]

    return FoldMean(
        name=name,
        groups=[each.group for each in folds],
        kind=first.kind,
        units=units,
        cases=[case for each in folds for case in each.cases],
        primary=first.primary,
        rows=rows,
        pairs=pair_methods(name, rows, units),
        num_windows=sum(each.num_windows for each in folds),
    )


def _row(rows: Sequence[Row], units: Units) -> Row:
    """Return the mean of a row of each fold; each seed is averaged over the folds."""
    first = rows[0]
    by_seed_tables = zip(*(row.tables for row in rows), strict=True)
    tables = [fold_tables(list(of_seed)) for of_seed in by_seed_tables]
    return replace(
        first,
        degenerate=any(row.degenerate for row in rows),
        tables=list(tables),
        predicted=[],
        **estimates(tables, first.metrics, first.primary, units),
    )


def _shared_case(folds: Sequence[DataSet]) -> str:
    """Return a sentence about the first test case that two folds share; empty without one."""
    seen: dict[str, str] = {}
    for each in folds:
        for case in each.cases:
            if case in seen:
                return (
                    f"{each.task}: the test case {case} is in the folds {seen[case]} and "
                    f"{each.split}, which are not independent; there is no mean over the folds, "
                    "and each counts by itself"
                )
            seen[case] = each.split
    return ""
