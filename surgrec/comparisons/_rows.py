"""The scores of each classifier on each kind of features, and those of baselines."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypedDict

import numpy as np

from surgrec.comparisons._kinds import Kind, Scored
from surgrec.comparisons._methods import Group
from surgrec.comparisons._predictions import Predicted
from surgrec.comparisons._records import BASELINE, PIXELS, Row, case_scores
from surgrec.scores import Estimate, GroundTruth, estimate, expected_counts
from surgrec.scores.intervals import draw_seeds, spread
from surgrec.scores.paired import CaseTable
from surgrec.scores.units import Units

CLASS_PRIOR = "prior"
"""Baseline that draws from the train distribution, as in `evaluation.json`."""


def method_rows(method: str, group: Group, scored: Scored, units: Units) -> list[Row]:
    """Return the rows of one method: each kind of features and classifier, over all seeds."""
    found: dict[tuple[str, str], list[Predicted]] = {}
    for result in group.results[method]:
        for each in result.predictions:
            # Pixels are the same for all seeds of the pretraining.
            is_repeated = each.features == PIXELS and result is not group.results[method][0]
            if each.features != BASELINE and not is_repeated:
                found.setdefault((each.features, each.classifier), []).append(each)
    own = group.results[method][0].primary
    order = sorted(found, key=lambda key: (key[0] != "trained", key[1] != own, key))
    rows = [_row(method, key, found[key], scored, group, units) for key in order]
    return [
        replace(row, compared_as=group.first.primary) if row.classifier == own else row
        for row in rows
    ]


def baseline_rows(group: Group, scored: Scored, units: Units) -> list[Row]:
    """Return the rows without features: they depend on the labels alone."""
    rows = [
        _row("", (each.features, each.classifier), [each], scored, group, units)
        for each in group.first.predictions
        if each.features == BASELINE
    ]

    # The class prior is scored by expected counts, without drawing a prediction.
    first = group.first
    if first.train_counts.sum() and not first.kind.ranks_classes:
        counts = expected_counts(
            GroundTruth(
                case=scored.case,
                label=first.windows.label,
                num_cases=scored.num_cases,
                num_classes=len(first.classes),
            ),
            first.train_counts / first.train_counts.sum(),
        )
        rows.append(_scored("", (BASELINE, CLASS_PRIOR), [counts], [], first.kind, units))
    return rows


def _row(
    method: str,
    key: tuple[str, str],
    predictions: Sequence[Predicted],
    scored: Scored,
    group: Group,
    units: Units,
) -> Row:
    kind, label = group.first.kind, group.first.windows.label
    tables = [kind.table(scored, label, each.value) for each in predictions]
    return _scored(method, key, tables, predictions, kind, units)


def _scored(
    method: str,
    key: tuple[str, str],
    tables: Sequence[CaseTable],
    predicted: Sequence[Predicted],
    kind: Kind,
    units: Units,
) -> Row:
    return Row(
        method=method,
        features=key[0],
        classifier=key[1],
        compared_as=key[1],
        seeds=len(tables),
        degenerate=any(each.is_constant for each in predicted),
        primary=kind.primary,
        tables=list(tables),
        predicted=list(predicted),
        **estimates(tables, kind.metrics, kind.primary, units),
    )


class Estimates(TypedDict):
    """The fields of a row that its tables decide."""

    metrics: dict[str, Estimate]
    with_seeds: dict[str, Estimate]
    seed_spread: float
    case_spread: float


def estimates(
    tables: Sequence[CaseTable], metrics: Iterable[str], primary: str, units: Units
) -> Estimates:
    """Return the means over seeds with their intervals, and the spreads of the primary metric.

    Args:
        tables: The scored predictions of each seed.
        metrics: Names of the metrics.
        primary: The one of them that counts.
        units: Units that are drawn for the intervals.
    """
    by_seed = [each.scores(units.weights) for each in tables]
    unknown = np.full(len(units.weights), np.nan)  # expected counts have no score per segment
    found = {
        metric: np.stack([each.get(metric, unknown) for each in by_seed]) for metric in metrics
    }
    return {
        "metrics": {
            metric: estimate(scores.mean(0), units.number) for metric, scores in found.items()
        },
        "with_seeds": {
            metric: estimate(draw_seeds(scores), units.number) for metric, scores in found.items()
        },
        "seed_spread": spread([float(each[primary][0]) for each in by_seed]),
        "case_spread": spread(np.mean([case_scores(each, primary) for each in tables], axis=0)),
    }
