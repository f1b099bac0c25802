"""The tables of an evaluation: a row per test window, and a row per test case."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation.kinds import TaskKind


def predictions_table(
    predictions: Sequence[Prediction], windows: LabeledWindows, kind: TaskKind
) -> pa.Table:
    """Return `predictions.parquet`: one row for each prediction of each test window or video.

    Args:
        predictions: Predictions of all classifiers that predict single windows.
        windows: The labeled windows.
        kind: Kind of the task.
    """
    test = windows.test
    window_columns: dict[str, Any] = {
        name: [getattr(row, name) for row in test.rows]
        for name in ("source", "case", "video", "start_s", "end_s")
    }

    return pa.concat_tables(
        pa.table(
            {
                **_method_columns(
                    each.features, each.classifier, (each.seed, each.head_seed), len(test.rows)
                ),
                **window_columns,
                "time_s": test.times_s,
                **kind.columns(each, windows),
                "probability": _probabilities(each, len(test.rows)),
            }
        )
        for each in predictions
    )


def cases_table(
    rows: Sequence[ScoredRow],
    windows: LabeledWindows,
    metrics: Sequence[str],
    windows_of_case: Sequence[int],
) -> pa.Table:
    """Return `cases.parquet`: the scores of each test case, as if it were the only one.

    Args:
        rows: The scored predictions.
        windows: The labeled windows, or the videos, that are scored.
        metrics: Names of the metrics, each a column.
        windows_of_case: Number of test windows of each case.
    """
    test = windows.test
    names = {f"{row.source}/{row.case}": (row.source, row.case) for row in test.rows}
    sources, cases = zip(*(names[name] for name in test.case_names), strict=True)
    size = len(windows_of_case)

    # Scored alone: a row of weights has a single case.
    each_case, unknown = np.eye(size), np.full(size, np.nan)
    tables = []
    for row in rows:
        for table, seeds in zip(row.tables, row.seeds, strict=True):
            scores = table.scores(each_case)
            columns: dict[str, Any] = {
                **_method_columns(row.features, row.classifier, seeds, size),
                "source": list(sources),
                "case": list(cases),
                "windows": list(windows_of_case),
                **{metric: scores.get(metric, unknown) for metric in metrics},
            }
            tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def _method_columns(
    features: str, classifier: str, seeds: tuple[int, int], rows: int
) -> dict[str, Any]:
    """Return the columns that identify a prediction; they are equal in all of its rows."""
    seed, head_seed = (pa.array([each] * rows, pa.int64()) for each in seeds)
    return {
        "features": [features] * rows,
        "seed": seed,
        "classifier": [classifier] * rows,
        "head_seed": head_seed,
    }


def _probabilities(prediction: Prediction, rows: int) -> pa.Array:
    """Return a list per window, in the order of the classes; null without probabilities."""
    kind = pa.list_(pa.float32())
    if prediction.probability is None:
        return pa.nulls(rows, kind)
    return pa.array(list(np.asarray(prediction.probability, dtype=np.float32)), kind)
