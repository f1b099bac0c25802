"""Baselines without features: the majority class, the class prior, and the elapsed time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.evaluation.probes.probe import LabeledFeatures, ProbePredictions, WindowFeatures

HALF_SPAN_S = 30.0
"""Train windows vote if they start at most this many seconds before or after the same time."""
_SAME_TIME_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A score to beat that uses no features."""

    name: str
    """Name in `evaluation.json`."""
    label: str
    """Name in text."""
    description: str
    """Its part of the protocol, after the label."""
    predict: Callable[[LabeledFeatures, WindowFeatures], ProbePredictions] | None = None
    """Predicts test windows from labels and times of train windows. None: it only has scores."""


def majority(train: LabeledFeatures, test: WindowFeatures) -> ProbePredictions:
    """Return the most frequent train label for every window; of equals, the first class."""
    counts = np.bincount(train.label, minlength=train.num_classes)
    return _most_votes(np.tile(counts, (len(test.time_s), 1)))


def elapsed_time(train: LabeledFeatures, test: WindowFeatures) -> ProbePredictions:
    """Return the most frequent label of the train windows at about the same time of their videos.

    The time runs from the start of the video, so that the length of a test video stays unknown. A
    window later than all others gets the votes around the nearest train window.
    """
    order = np.argsort(train.time_s, kind="stable")
    times = train.time_s[order]
    one_hot = train.label[order, None] == np.arange(train.num_classes)
    before = np.concatenate([np.zeros((1, train.num_classes), np.int64), one_hot.cumsum(0)])

    centers = _nearest(times, test.time_s)
    first = np.searchsorted(times, centers - HALF_SPAN_S - _SAME_TIME_S, "left")
    after_last = np.searchsorted(times, centers + HALF_SPAN_S + _SAME_TIME_S, "right")
    return _most_votes(before[after_last] - before[first])


MAJORITY = Baseline(
    name="majority",
    label="majority",
    description="the most frequent train label",
    predict=majority,
)
CLASS_PRIOR = Baseline(
    name="prior",
    label="class prior",
    description="scores of the expected counts when labels are drawn from the train windows' "
    "distribution, computed, not drawn",
)
LABEL_PRIOR = Baseline(
    name="label_prior",
    label="label prior",
    description="the share of train windows with the class, as the probability of each window",
)
TRAIN_MEAN = Baseline(
    name="train_mean", label="train mean", description="the mean number of the train windows"
)
ELAPSED_TIME = Baseline(
    name="elapsed_time",
    label="elapsed time",
    description="the most frequent label of the train windows that start within "
    f"{HALF_SPAN_S:g} s of the same time of their videos, without the length of the video",
    predict=elapsed_time,
)


def _nearest(
    times: Float64[np.ndarray, " n"], wanted: Float64[np.ndarray, " m"]
) -> Float64[np.ndarray, " m"]:
    """Return the wanted times, or the nearest one of `times` if no window is within the span."""
    right = np.clip(np.searchsorted(times, wanted), 0, len(times) - 1)
    left = np.clip(right - 1, 0, None)
    nearest = np.where(wanted - times[left] <= times[right] - wanted, times[left], times[right])
    return np.where(np.abs(nearest - wanted) <= HALF_SPAN_S, wanted, nearest)


def _most_votes(votes: Int64[np.ndarray, "m classes"]) -> ProbePredictions:
    shares = votes / votes.sum(1, keepdims=True)
    return ProbePredictions(label=votes.argmax(1), probability=shares.astype(np.float32))
