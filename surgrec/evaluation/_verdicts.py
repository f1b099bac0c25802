"""Scores of probes and baselines with intervals over cases, and verdicts on the training."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float64

from surgrec.evaluation._results import FeaturesKind, Prediction
from surgrec.evaluation.probes import CLASS_PRIOR, MAJORITY, PRIMARY_PROBE, PROBES
from surgrec.scores import (
    METRICS,
    PRIMARY,
    CaseCounts,
    GroundTruth,
    Metric,
    case_weights,
    count_predictions,
    estimate,
    expected_counts,
    swap_test,
    verdict_of,
)

Row = tuple[FeaturesKind, str]
"""Features and classifier of a row of scores."""
ScoresByRow = dict[Row, dict[Metric, Float64[np.ndarray, " r"]]]

_PROBED: tuple[FeaturesKind, ...] = ("trained", "random")
_ROWS: tuple[Row, ...] = (
    *((features, probe.name) for features in _PROBED for probe in PROBES),
    ("none", MAJORITY.name),
    ("none", CLASS_PRIOR.name),
)
"""All rows of scores, in the order of tables."""


def compare(
    truth: GroundTruth,
    predictions: Sequence[Prediction],
    train_shares: Float64[np.ndarray, " classes"],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the rows `scores` and `verdicts` of `evaluation.json`.

    Args:
        truth: Cases and labels of the test windows.
        predictions: Predictions of the probes and of the majority baseline. Scores of several
            seeds are averaged.
        train_shares: Share of each class among the train windows, for the class prior.
    """
    weights = case_weights(truth.num_cases)
    grouped: dict[Row, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        grouped[prediction.features, prediction.classifier].append(prediction)

    counts = {
        row: [count_predictions(truth, each.label) for each in group]
        for row, group in grouped.items()
    }
    counts["none", CLASS_PRIOR.name] = [expected_counts(truth, train_shares)]
    scores = {row: _mean_scores(by_seed, weights) for row, by_seed in counts.items()}

    score_rows = [_score_row(row, scores[row], grouped[row], truth.num_cases) for row in _ROWS]
    return score_rows, [_verdict_row(probe.name, scores, counts) for probe in PROBES]


def _mean_scores(
    counts: Sequence[CaseCounts], weights: Float64[np.ndarray, "r cases"]
) -> dict[Metric, Float64[np.ndarray, " r"]]:
    """Return the scores on each resample, averaged over seeds within the resample."""
    by_seed = [each.scores(weights) for each in counts]
    return {metric: np.mean([each[metric] for each in by_seed], axis=0) for metric in METRICS}


def _score_row(
    row: Row,
    scores: dict[Metric, Float64[np.ndarray, " r"]],
    predictions: Sequence[Prediction],
    num_cases: int,
) -> dict[str, Any]:
    features, classifier = row
    return {
        "features": features,
        "classifier": classifier,
        "seeds": max(1, len(predictions)),
        "degenerate": any(len(np.unique(each.label)) == 1 for each in predictions),
        "metrics": {
            metric: asdict(estimate(values, num_cases)) for metric, values in scores.items()
        },
    }


def _verdict_row(
    classifier: str, scores: ScoresByRow, counts: dict[Row, list[CaseCounts]]
) -> dict[str, Any]:
    trained, random = ((features, classifier) for features in _PROBED)
    num_cases = counts[trained][0].num_cases
    # Paired: both scores come from the same resamples, and both tests from the same cases.
    difference = estimate(scores[trained][PRIMARY] - scores[random][PRIMARY], num_cases)
    p_value = swap_test(counts[trained], counts[random], PRIMARY)

    return {
        "classifier": classifier,
        "metric": PRIMARY,
        "against": "random",
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "p_value": p_value,
        "cases": num_cases,
        "verdict": verdict_of(difference, p_value, num_cases),
        "primary": classifier == PRIMARY_PROBE.name,
    }
