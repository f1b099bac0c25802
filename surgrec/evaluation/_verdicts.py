"""Scores with intervals over cases, and verdicts on the training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float64

from surgrec.evaluation._predictions import FeaturesKind, ScoredRow
from surgrec.scores import Estimate, estimate, swap_test, verdict_of
from surgrec.scores.frames import FrameTable
from surgrec.scores.intervals import spread
from surgrec.scores.paired import CaseTable
from surgrec.scores.units import Units

ScoresByMetric = Mapping[str, Float64[np.ndarray, " r"]]
"""Score on each resample of cases, by metric."""
_RANDOM: FeaturesKind = "random"


def compare(
    rows: Sequence[ScoredRow],
    units: Units,
    *,
    metrics: Sequence[str],
    primary: str,
    primary_classifier: str,
    controls: Sequence[str] = (),
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows `scores` and `verdicts` of `evaluation.json`.

    Args:
        rows: The scored predictions, in the order of tables, all on the same cases.
        units: The independent units of the test cases, which are resampled and exchanged.
        metrics: Names of the metrics, in the order of tables.
        primary: The metric of verdicts; higher is better.
        primary_classifier: The classifier whose verdict counts.
        controls: Classifiers on trained features that the primary one is compared with.
    """
    scores = [_mean_scores(row.tables, units.weights, metrics) for row in rows]
    score_rows = [
        {
            "features": row.features,
            "classifier": row.classifier,
            "seeds": len(row.tables),
            "degenerate": row.degenerate,
            "metrics": {
                metric: _as_json(estimate(values[metric], units.number)) for metric in metrics
            },
            "seed_std": _seed_spreads(row.tables, metrics),
            "video_std": _video_spreads(row.tables, metrics),
        }
        for row, values in zip(rows, scores, strict=True)
    ]

    def verdict(index: int, other: int, against: str) -> dict[str, Any]:
        # Paired: both scores come from the same resamples.
        row, values = rows[index], scores[index][primary] - scores[other][primary]
        difference = estimate(values, units.number)
        p_value = swap_test(row.paired, rows[other].paired, primary, units=units.of_case)
        return {
            "classifier": row.classifier,
            "metric": primary,
            "against": against,
            **_as_json(difference, value_name="difference"),
            "p_value": p_value,
            "cases": row.paired[0].num_cases,
            "units": {"name": units.name, "number": units.number},
            "verdict": verdict_of(difference, p_value, units.number),
            "primary": against == _RANDOM and row.classifier == primary_classifier,
        }

    # A verdict needs the same classifier on features of trained and of random weights.
    index_of = {(row.features, row.classifier): index for index, row in enumerate(rows)}
    verdicts = [
        verdict(index, index_of[_RANDOM, row.classifier], _RANDOM)
        for index, row in enumerate(rows)
        if row.features == "trained" and (_RANDOM, row.classifier) in index_of
    ]
    main = index_of.get(("trained", primary_classifier))
    if main is not None:
        verdicts += [verdict(main, index_of["trained", name], name) for name in controls]
    return score_rows, verdicts


def _seed_spreads(tables: Sequence[CaseTable], metrics: Sequence[str]) -> dict[str, float]:
    """Return the standard deviation over seeds of each metric; nothing for one seed."""
    whole = np.ones((1, tables[0].num_cases))
    by_seed = [table.scores(whole) for table in tables] if len(tables) > 1 else []
    found = {
        metric: spread([float(each[metric][0]) for each in by_seed if metric in each])
        for metric in metrics
    }
    return {metric: value for metric, value in found.items() if math.isfinite(value)}


def _video_spreads(tables: Sequence[CaseTable], metrics: Sequence[str]) -> dict[str, float]:
    """Return the standard deviation over videos of each metric that is a mean over videos.

    It is averaged over seeds. Only phases have such metrics.
    """
    by_seed = [table.video_spreads() for table in tables if isinstance(table, FrameTable)]
    found = {
        metric: float(np.mean([each[metric] for each in by_seed]))
        for metric in metrics
        if by_seed and metric in by_seed[0]
    }
    return {metric: value for metric, value in found.items() if math.isfinite(value)}


def _mean_scores(
    tables: Sequence[CaseTable], weights: Float64[np.ndarray, "r cases"], metrics: Sequence[str]
) -> ScoresByMetric:
    """Return the scores on each resample, averaged over seeds within the resample."""
    by_seed = [table.scores(weights) for table in tables]
    unknown = np.full(len(weights), np.nan)  # expected counts have no score per segment
    return {
        metric: np.mean([each.get(metric, unknown) for each in by_seed], axis=0)
        for metric in metrics
    }


def _as_json(number: Estimate, value_name: str = "value") -> dict[str, float | None]:
    """Return an estimate as JSON, in which an undefined number is null."""
    fields = asdict(number)
    fields = {value_name: fields.pop("value"), **fields}
    return {name: value if math.isfinite(value) else None for name, value in fields.items()}
