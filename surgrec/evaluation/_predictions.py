"""Predictions of classifiers for the test windows, and their tables of numbers per case."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from surgrec.scores.paired import CaseTable

FeaturesKind = Literal["trained", "random", "pixels", "none"]
"""Features behind a prediction: of trained weights, of random weights, pixels without an encoder,
or none. The last two are baselines."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predictions of one classifier for all test windows."""

    features: FeaturesKind
    classifier: str
    """Name in files."""
    label: Int64[np.ndarray, " m"] | None = None
    """Predicted class of each window, as an index, or `NO_CLASS` of `surgrec.scores`; for tasks of
    one class at a time."""
    probability: Float[np.ndarray, "m classes"] | None = None
    """Probability of each class. Tasks of several classes at a time need it."""
    number: Float[np.ndarray, " m"] | None = None
    """Predicted number of each window, for tasks of numbers."""
    seed: int = 0
    """Seed of the random weights; 0 for other features."""
    head_seed: int = 0
    """Seed of the classifier, if it has one."""


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """The predictions of one classifier on one kind of features, ready to be scored."""

    features: FeaturesKind
    classifier: str
    tables: Sequence[CaseTable]
    """One table per pair of seeds; their scores are averaged."""
    paired: Sequence[CaseTable]
    """The tables for the permutation test: those with the primary metric alone are quicker."""
    seeds: Sequence[tuple[int, int]]
    """Seed of the weights and seed of the classifier of each table."""
    degenerate: bool
    """Whether a prediction is constant."""
