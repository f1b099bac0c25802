"""The interface of a kind of task: the meaning of labels, their prediction and their scores."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation.probes import Baseline, LabeledFeatures, WindowFeatures
from surgrec.scores.kinds import KindName
from surgrec.scores.paired import CaseTable

Inputs = tuple[LabeledFeatures, WindowFeatures, LabeledFeatures | None]
"""Windows of train, test and val with the features of one encoder, or without any."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The predictions of a fitted probe for the test windows."""

    label: Int64[np.ndarray, " m"] | None = None
    probability: Float[np.ndarray, "m classes"] | None = None
    number: Float[np.ndarray, " m"] | None = None
    chosen: str = ""
    issues: frozenset[str] = frozenset()


class KindProbe(ABC):
    """A probe for a kind of task; see `Probe` for its names."""

    name: str
    label: str
    issues: tuple[str, ...]
    seeds: tuple[int, ...]

    @abstractmethod
    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Fit the probe on the train windows, and predict the test windows.

        Args:
            inputs: Features of the windows of train, test and val, of one encoder.
            windows: The labeled windows.
            seed: A member of `seeds`.
        """

    @abstractmethod
    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol, with the settings chosen for each encoder."""


class TaskKind(ABC):
    """A kind of task. A new one is a subclass, and an entry in `KINDS`."""

    name: KindName
    metrics: tuple[str, ...]
    """Names of the metrics, in the order of tables; `docs/metrics.md` defines them."""
    primary: str
    """The metric of verdicts; higher is better. Fixed before there were results."""
    rules: tuple[str, ...]
    """Parts of the protocol: the meaning of a label, and the metrics."""
    video_rules: tuple[str, ...] = ()
    """The same if a label holds for a whole video; empty for kinds of moments alone."""
    several = False
    """Whether a time may have several values."""
    has_classes = True
    """Whether labels are classes, and not numbers."""
    baselines: tuple[Baseline, ...]
    temporal_probes: tuple["KindProbe", ...] = ()
    """Probes on the sequence of windows of a video, which take minutes; fitted on request."""

    @property
    @abstractmethod
    def probes(self) -> tuple[KindProbe, ...]:
        """The probes, in the order of tables. The verdict of the first one counts."""

    @abstractmethod
    def require(self, task: str, values: set[str]) -> None:
        """Refuse train labels from which nothing can be learned.

        Raises:
            ConfigError: Names the task and a value.
        """

    @abstractmethod
    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return the numbers of each test case from which scores follow.

        Args:
            prediction: A prediction that `require_fit` accepts.
            windows: The labeled windows.
            stride_s: Seconds from one window to the next.
        """

    def paired_table(self, prediction: Prediction, table: CaseTable) -> CaseTable:
        """Return a table with the primary metric, for the permutation test."""
        return table

    @abstractmethod
    def predicted(self, prediction: Prediction) -> np.ndarray:
        """Return one row per test window: the array by which a prediction is scored.

        Raises:
            ConfigError: The prediction lacks it.
        """

    @abstractmethod
    def baseline_rows(
        self, inputs: Inputs, windows: LabeledWindows
    ) -> tuple[list[Prediction], list[ScoredRow]]:
        """Return the baselines that predict windows, and those that have scores only."""

    @abstractmethod
    def columns(self, prediction: Prediction, windows: LabeledWindows) -> dict[str, Any]:
        """Return the columns `label` and `prediction` of `predictions.parquet`."""

    def require_fit(self, prediction: Prediction, windows: LabeledWindows) -> None:
        """Refuse a prediction that is not one of each test window.

        Raises:
            ConfigError: Names the classifier and both numbers.
        """
        predicted, expected = self.predicted(prediction), len(windows.test.rows)
        if len(predicted) != expected:
            raise ConfigError(
                f"{prediction.classifier} predicts {len(predicted)} windows, but the test part has "
                f"{expected}; predict each of `windows.test.rows` once"
            )
        if not np.isfinite(predicted).all():
            raise ConfigError(
                f"{prediction.classifier} predicts values that are not finite; check its training"
            )

    def row(
        self, group: Sequence[Prediction], windows: LabeledWindows, stride_s: float
    ) -> ScoredRow:
        """Return the scored row of the predictions of one classifier on one kind of features."""
        tables = [self.table(each, windows, stride_s) for each in group]
        predicted = [self.predicted(each) for each in group]
        return ScoredRow(
            features=group[0].features,
            classifier=group[0].classifier,
            tables=tables,
            paired=[self.paired_table(*pair) for pair in zip(group, tables, strict=True)],
            seeds=[(each.seed, each.head_seed) for each in group],
            degenerate=any(bool((each == each[:1]).all()) for each in predicted),
        )


def required(array: np.ndarray | None, prediction: Prediction, field: str) -> np.ndarray:
    """Return an array of a prediction.

    Raises:
        ConfigError: The prediction lacks it.
    """
    if array is None:
        raise ConfigError(
            f"the prediction of {prediction.classifier} has no `{field}`, which this kind of task "
            "is scored by; add it"
        )
    return array
