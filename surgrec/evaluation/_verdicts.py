"""Scores of probes and baselines with intervals over cases, and verdicts on the training."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64

from surgrec.evaluation._bootstrap import Estimate, case_weights, estimate
from surgrec.evaluation._results import FeaturesKind, Prediction
from surgrec.evaluation._scores import (
    METRICS,
    PRIMARY,
    CaseCounts,
    GroundTruth,
    Metric,
    count_predictions,
    expected_counts,
    score,
)
from surgrec.evaluation.probes import CLASS_PRIOR, MAJORITY, PRIMARY_PROBE, PROBES

Verdict = Literal["better", "not shown", "worse"]
"""Of trained weights against random weights."""

MIN_CASES = 10
"""Test cases that a verdict needs. Over 5 cases, two equal encoders differ in one of six
evaluations; over 2 cases, in half of them."""

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

    scores: ScoresByRow = {
        row: _mean_scores((count_predictions(truth, each.label) for each in group), weights)
        for row, group in grouped.items()
    }
    prior = expected_counts(truth, train_shares)
    scores["none", CLASS_PRIOR.name] = _mean_scores([prior], weights)

    score_rows = [_score_row(row, scores[row], grouped[row]) for row in _ROWS]
    verdict_rows = [_verdict_row(probe.name, scores, truth.num_cases) for probe in PROBES]
    return score_rows, verdict_rows


def verdict_of(difference: Estimate, num_cases: int) -> Verdict:
    """Return *better* or *worse* if the interval excludes 0 and there are enough test cases."""
    if num_cases < MIN_CASES:
        return "not shown"
    return "better" if difference.low > 0 else "worse" if difference.high < 0 else "not shown"


def _mean_scores(
    counts: Iterable[CaseCounts], weights: Float64[np.ndarray, "r cases"]
) -> dict[Metric, Float64[np.ndarray, " r"]]:
    """Return the scores on each resample, averaged over seeds within the resample."""
    by_seed = [score(each, weights) for each in counts]
    return {metric: np.mean([each[metric] for each in by_seed], axis=0) for metric in METRICS}


def _score_row(
    row: Row, scores: dict[Metric, Float64[np.ndarray, " r"]], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    features, classifier = row
    return {
        "features": features,
        "classifier": classifier,
        "seeds": max(1, len(predictions)),
        "degenerate": any(len(np.unique(each.label)) == 1 for each in predictions),
        "metrics": {metric: asdict(estimate(values)) for metric, values in scores.items()},
    }


def _verdict_row(classifier: str, scores: ScoresByRow, num_cases: int) -> dict[str, Any]:
    trained, random = scores["trained", classifier], scores["random", classifier]
    # Paired: both scores come from the same resamples.
    difference = estimate(trained[PRIMARY] - random[PRIMARY])

    return {
        "classifier": classifier,
        "metric": PRIMARY,
        "against": "random",
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "cases": num_cases,
        "verdict": verdict_of(difference, num_cases),
        "primary": classifier == PRIMARY_PROBE.name,
    }
