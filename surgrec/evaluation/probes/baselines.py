"""Baselines that see labels only: the majority class and the class prior."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A score to beat that uses no features."""

    name: str
    """Name in `evaluation.json`."""
    label: str
    """Name in text."""
    description: str
    """Its part of the protocol, after the label."""


MAJORITY = Baseline(name="majority", label="majority", description="the most frequent train label")
CLASS_PRIOR = Baseline(
    name="prior",
    label="class prior",
    description="scores of the expected counts when labels are drawn from the train windows' "
    "distribution, computed, not drawn",
)


def majority_predictions(
    labels: Int64[np.ndarray, " n"], num_windows: int
) -> Int64[np.ndarray, " m"]:
    """Return the most frequent train label for every window; of equals, the first class."""
    return np.full(num_windows, np.bincount(labels).argmax(), dtype=np.int64)
