"""The interface of a probe: a classifier that is trained on frozen features."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WindowFeatures:
    """The features of the windows of one part of a split, from one encoder."""

    values: Float32[Tensor, "n d"]
    """Features, on the device that the probe shall use."""
    video: Int64[np.ndarray, " n"]
    """Video of each window, as an index within the part."""
    time_s: Float64[np.ndarray, " n"]
    """Start of each window, in seconds of its video."""


@dataclass(frozen=True, kw_only=True)
class LabeledFeatures(WindowFeatures):
    """Features with labels and cases."""

    label: Int64[np.ndarray, " n"]
    """Class of each window, in [0, num_classes)."""
    case: Int64[np.ndarray, " n"]
    """Case of each window, as an index within the part."""
    num_classes: int

    def at(self, rows: Int64[np.ndarray, " _"]) -> "LabeledFeatures":
        """Return some of the windows, such as a fold."""
        return LabeledFeatures(
            values=self.values[torch.from_numpy(rows).to(self.values.device)],
            video=self.video[rows],
            time_s=self.time_s[rows],
            label=self.label[rows],
            case=self.case[rows],
            num_classes=self.num_classes,
        )


@dataclass(frozen=True, kw_only=True)
class ProbePredictions:
    """The predictions of a probe for the test windows of one encoder."""

    label: Int64[np.ndarray, " m"]
    """Predicted class of each test window."""
    probability: Float32[np.ndarray, "m classes"]
    """Probability of each class, or share of the votes."""
    chosen: str = ""
    """Setting that the probe chose on held-out cases, as text; empty if it chose none."""
    issues: frozenset[str] = frozenset()
    """Members of the probe's `issues` that occurred in this fit."""

    @staticmethod
    def most_probable(
        probability: Float32[np.ndarray, "m classes"], chosen: str, occurred: Mapping[str, bool]
    ) -> "ProbePredictions":
        """Return the class of the greatest probability for each window.

        Args:
            probability: Probability of each class.
            chosen: As the field.
            occurred: Whether each of the probe's `issues` occurred.
        """
        return ProbePredictions(
            label=probability.argmax(1),
            probability=probability,
            chosen=chosen,
            issues=frozenset(issue for issue, present in occurred.items() if present),
        )


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

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of its initial weights; `(0,)` for a probe without randomness."""

    def fit_predict(
        self,
        train: LabeledFeatures,
        test: WindowFeatures,
        *,
        val: LabeledFeatures | None = None,
        seed: int = 0,
    ) -> ProbePredictions:
        """Fit the probe on train windows and predict the class of each test window.

        Args:
            train: Windows to fit.
            test: Windows to predict.
            val: Windows on which settings are chosen. None: they are chosen on folds of train
                cases.
            seed: A member of `seeds`.
        """

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return the probe's part of the protocol: every setting that moves a number.

        Args:
            chosen: `ProbePredictions.chosen` of each encoder, by the name of its features.
        """
