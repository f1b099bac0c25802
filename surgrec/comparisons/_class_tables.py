"""The table of classes: precision, recall, Jaccard and F1, or the average precision."""

import numpy as np
from jaxtyping import Float64

from surgrec.comparisons._records import DataSet, Row
from surgrec.comparisons._table import Table, number
from surgrec.scores import class_table
from surgrec.scores.multilabel import LabelSets
from surgrec.scores.paired import CaseTable
from surgrec.scores.triplets import TripletTable


def class_score_table(data_set: DataSet) -> Table:
    """Return the scores of each class, by the primary classifier; numbers have no rows."""
    rows, units = data_set.primary_rows, f"{data_set.group.first.unit}s"

    # The scores of a class depend on the kind of task.
    if data_set.kind.has_one_class:
        columns = [units, "precision", "recall", "Jaccard", "F1"]
        cells = {row.method: _one_class(row) for row in rows}
        note = f"Pooled over the {units} of all cases, in the mean over seeds."
    elif data_set.kind.name == "labels":
        columns = [units, "AP", "AP within cases"]
        cells = {row.method: _precisions(data_set, row) for row in rows}
        note = (
            f"AP: average precision over all {units}. AP within cases: within each case, mean over "
            "the cases that have the class. In the mean over seeds."
        )
    else:
        columns = [units, "AP within videos"]
        cells = {row.method: _precisions(data_set, row) for row in rows}
        note = (
            "Average precision within each video, mean over the videos that have the class, in the "
            "mean over seeds."
        )

    return Table(
        title=f"{data_set.name}: classes, {data_set.text_of(data_set.primary)}",
        columns=["method", "class", *columns],
        rows=[
            [method, name, *row]
            for method, of_method in cells.items()
            for name, row in zip(data_set.classes, of_method, strict=True)
        ],
        names=2,
        note=note,
    )


def _one_class(row: Row) -> list[list[str]]:
    """Return windows, precision, recall, Jaccard and F1 of each class."""
    return [
        [
            str(scores.labeled),
            *map(number, (scores.precision, scores.recall, scores.jaccard, scores.f1)),
        ]
        for scores in class_table(row.mean_counts())
    ]


def _precisions(data_set: DataSet, row: Row) -> list[list[str]]:
    """Return the windows and the average precisions of each class."""
    if not data_set.classes:
        return []
    windows = data_set.windows.label.sum(0)
    by_seed = np.stack([_class_precisions(each) for each in row.tables])
    return [
        [str(count), *map(number, values)]
        for count, values in zip(windows.tolist(), by_seed.mean(0).T.tolist(), strict=True)
    ]


def _class_precisions(table: CaseTable) -> Float64[np.ndarray, "kinds classes"]:
    """Return the average precisions of each class: pooled and within cases, or within videos."""
    if isinstance(table, LabelSets):
        pooled = table.class_precision(np.ones((1, table.num_cases)))
        return np.stack([pooled[0], _mean_of_known(table.case_precision)])
    if isinstance(table, TripletTable):
        return _mean_of_known(table.by_video["ivt"])[None]
    raise TypeError(f"{type(table).__name__} has no average precision of classes")


def _mean_of_known(table: Float64[np.ndarray, "n classes"]) -> Float64[np.ndarray, " classes"]:
    """Return the mean of each column over its numbers; NaN for a column without any."""
    known = np.isfinite(table)
    count = known.sum(0)
    total = np.where(known, table, 0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
