"""The interface of a probe: a classifier that is trained on frozen features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int64


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures:
    """The features of the train windows of one encoder, with labels and cases."""

    values: Float32[np.ndarray, "n d"]
    label: Int64[np.ndarray, " n"]
    """Class of each window, in [0, num_classes)."""
    case: Int64[np.ndarray, " n"]
    """Case of each window, as an index."""
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class ProbePredictions:
    """The predictions of a probe for the test windows of one encoder."""

    label: Int64[np.ndarray, " m"]
    """Predicted class of each test window."""
    chosen: str = ""
    """Setting that the probe chose on held-out train cases, as text; empty if it chose none."""
    issues: frozenset[str] = frozenset()
    """Members of the probe's `issues` that occurred in this fit."""


@runtime_checkable  # for the tests, which check annotations at run time
class Probe(Protocol):
    """A classifier on frozen features. A new probe is one file, and one entry in `PROBES`."""

    @property
    def name(self) -> str:
        """Name in `evaluation.json` and `predictions.parquet`, such as `knn`."""

    @property
    def label(self) -> str:
        """Name in text, such as `kNN`."""

    @property
    def issues(self) -> tuple[str, ...]:
        """Possible problems of a fit, as rows of the audit. Each is counted over all encoders."""

    def fit_predict(
        self, train: LabeledFeatures, test: Float32[np.ndarray, "m d"]
    ) -> ProbePredictions:
        """Fit the probe on train windows and predict the class of each test window."""

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the probe's part of the protocol: every setting that moves a number.

        Args:
            chosen: `ProbePredictions.chosen` of each encoder, by the name of its features.
        """
