"""Classifiers beside their baselines: scores with intervals over cases, and whether training made them better."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Float64

from surgrec.evaluation.bootstrap import Interval, case_weights, interval
from surgrec.evaluation.results import Classifier, FeaturesKind, Prediction
from surgrec.evaluation.scores import (
    METRICS,
    PRIMARY,
    Answers,
    Counts,
    Metric,
    count,
    expected_count,
    score,
)

MIN_CASES = 10
"""Fewer test cases give no verdict: with 5, two equal encoders would differ in one of six evaluations, with 2 in half of them."""
PRIMARY_CLASSIFIER: Classifier = "knn"
"""Its verdict counts; it has nothing to choose. The other is shown beside it."""
Row = tuple[FeaturesKind, Classifier]
ScoresByRow = dict[Row, dict[Metric, Float64[np.ndarray, " r"]]]
_ORDER: tuple[Row, ...] = (
    ("trained", "knn"),
    ("trained", "logistic"),
    ("random", "knn"),
    ("random", "logistic"),
    ("none", "majority"),
    ("none", "prior"),
)


def compare(
    answers: Answers,
    predictions: Sequence[Prediction],
    train_share: Float64[np.ndarray, " classes"],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows `scores` and `verdicts` of `evaluation.json`.

    Args:
        answers: Cases and labels of the test windows.
        predictions: Of all classifiers but the prior; those of several seeds are averaged.
        train_share: Of each class among the train windows, which the prior predicts with.
    """
    weights = case_weights(answers.num_cases)
    grouped: dict[Row, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        grouped[prediction.features, prediction.classifier].append(prediction)
    scores = {
        row: _mean_scores((count(answers, each.label) for each in own), weights)
        for row, own in grouped.items()
    }
    scores["none", "prior"] = _mean_scores([expected_count(answers, train_share)], weights)
    rows = [_score_row(row, scores[row], grouped[row]) for row in _ORDER]
    return rows, [
        _verdict_row(classifier, scores, answers.num_cases) for classifier in ("knn", "logistic")
    ]


def _mean_scores(
    counts: Iterable[Counts], weights: Float64[np.ndarray, "r cases"]
) -> dict[Metric, Float64[np.ndarray, " r"]]:
    """Scores on each resample, averaged over seeds within it."""
    found = [score(each, weights) for each in counts]
    return {metric: np.mean([each[metric] for each in found], axis=0) for metric in METRICS}


def _score_row(
    row: Row, scores: dict[Metric, Float64[np.ndarray, " r"]], predictions: Sequence[Prediction]
) -> dict[str, Any]:
    features, classifier = row
    return {
        "features": features,
        "classifier": classifier,
        "seeds": max(1, len(predictions)),
        "degenerate": any(len(np.unique(each.label)) == 1 for each in predictions),
        "metrics": {metric: asdict(interval(values)) for metric, values in scores.items()},
    }


def _verdict_row(classifier: Classifier, scores: ScoresByRow, num_cases: int) -> dict[str, Any]:
    difference: Interval = interval(
        scores["trained", classifier][PRIMARY] - scores["random", classifier][PRIMARY]
    )
    return {
        "classifier": classifier,
        "metric": PRIMARY,
        "against": "random",
        "difference": difference.value,
        "low": difference.low,
        "high": difference.high,
        "cases": num_cases,
        "verdict": difference.verdict if num_cases >= MIN_CASES else "not shown",
        "primary": classifier == PRIMARY_CLASSIFIER,
    }
