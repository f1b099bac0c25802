"""The kinds of tasks: the columns of their predictions, and the numbers per case behind scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float64, Int64

from surgrec.errors import ConfigError
from surgrec.scores import METRICS, PRIMARY, GroundTruth, count_predictions
from surgrec.scores.classification import NO_CLASS
from surgrec.scores.frames import score_windows
from surgrec.scores.kinds import METRICS_OF, PRIMARY_OF, metric_name
from surgrec.scores.multilabel import LabelSets
from surgrec.scores.paired import CaseTable
from surgrec.scores.regression import Numbers
from surgrec.scores.triplets import Triplet, score_triplets

REMEDY = "evaluate again, or copy the folder again"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Facts that hold for the tables of all predictions of a data set."""

    case: Int64[np.ndarray, " n"]
    """Case of each window, as an index."""
    num_cases: int
    video: Int64[np.ndarray, " n"]
    """Video of each window, as an index."""
    video_names: Sequence[str]
    time_s: Float64[np.ndarray, " n"]
    """Time of each window's label, in seconds of the video."""
    stride_s: float
    """Usual seconds from one window of a video to the next."""
    classes: Sequence[str]

    @property
    def video_cases(self) -> Int64[np.ndarray, " v"]:
        """Case of each video."""
        return self.case[np.unique(self.video, return_index=True)[1]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One class per window; other kinds are subclasses."""

    name: str
    metrics: tuple[str, ...] = METRICS
    """All metrics, in the order of tables."""
    primary: str = PRIMARY
    """The metric of verdicts; higher is better."""
    cell: Any = pa.string()
    """Type of labels and predictions in `predictions.parquet`."""
    cell_name: str = "text"
    """The type in words."""
    has_classes: bool = True
    """Whether labels are classes, and not numbers."""
    ranks_classes: bool = False
    """Whether windows have several classes, of which each has a probability of its own."""

    @property
    def case_value(self) -> str:
        """Name of the value of a single case, by which wins, effects and spreads are."""
        return metric_name(self.primary)

    @property
    def has_one_class(self) -> bool:
        """Whether a window has one class."""
        return self.has_classes and not self.ranks_classes

    def read(self, column: pa.ChunkedArray, classes: Sequence[str], path: Path) -> np.ndarray:
        """Return one row per cell: the index of its class.

        Raises:
            ConfigError: A cell has an unknown class.
        """
        return _class_indices(column, classes, path)

    def read_predicted(
        self, column: pa.ChunkedArray, classes: Sequence[str], path: Path
    ) -> np.ndarray:
        """Return one row per cell, as `read` does; empty text is `NO_CLASS`."""
        is_empty = pc.equal(column, "").to_numpy()
        found = np.full(len(column), NO_CLASS, dtype=np.int64)
        found[~is_empty] = self.read(column.filter(pa.array(~is_empty)), classes, path)
        return found

    def table(self, scored: Scored, label: np.ndarray, value: np.ndarray) -> CaseTable:
        """Return the numbers per case of one prediction.

        Args:
            scored: Cases, videos and classes.
            label: Labels as `read` returns them.
            value: Predictions: as `read` returns them, or probabilities if the kind ranks classes.
        """
        truth = GroundTruth(
            case=scored.case,
            label=label,
            num_cases=scored.num_cases,
            num_classes=len(scored.classes),
        )
        return count_predictions(truth, value)


@dataclass(frozen=True, kw_only=True)
class PhaseKind(Kind):
    """One class at each moment of a video; also scored per video, per phase and per segment."""

    metrics: tuple[str, ...] = METRICS_OF["phases"]
    primary: str = PRIMARY_OF["phases"]

    def table(self, scored: Scored, label: np.ndarray, value: np.ndarray) -> CaseTable:
        """Return the scores of each video, at one frame per second."""
        return score_windows(
            scored.time_s,
            label,
            value,
            video=scored.video,
            names=scored.video_names,
            case=scored.case,
            num_phases=len(scored.classes),
            stride_s=scored.stride_s,
        )


@dataclass(frozen=True, kw_only=True)
class LabelKind(Kind):
    """Several classes per window, ranked by their probability."""

    metrics: tuple[str, ...] = METRICS_OF["labels"]
    primary: str = PRIMARY_OF["labels"]
    cell: Any = pa.list_(pa.string())
    cell_name: str = "lists of texts"
    ranks_classes: bool = True

    def read(self, column: pa.ChunkedArray, classes: Sequence[str], path: Path) -> np.ndarray:
        """Return which classes each cell has."""
        found: Bool[np.ndarray, "n classes"] = np.zeros((len(column), len(classes)), dtype=bool)
        lists = column.combine_chunks()
        rows = pc.list_parent_indices(lists).to_numpy()
        found[rows, _class_indices(pc.list_flatten(lists), classes, path)] = True
        return found

    def read_predicted(
        self, column: pa.ChunkedArray, classes: Sequence[str], path: Path
    ) -> np.ndarray:
        """Return which classes each cell has."""
        return self.read(column, classes, path)

    def table(self, scored: Scored, label: np.ndarray, value: np.ndarray) -> CaseTable:
        """Return labels and probabilities by case."""
        return LabelSets(case=scored.case, label=label, score=value, num_cases=scored.num_cases)


@dataclass(frozen=True, kw_only=True)
class TripletKind(LabelKind):
    """Action triplets, several per window."""

    metrics: tuple[str, ...] = METRICS_OF["triplets"]
    primary: str = PRIMARY_OF["triplets"]

    def table(self, scored: Scored, label: np.ndarray, value: np.ndarray) -> CaseTable:
        """Return the average precisions within each video."""
        return score_triplets(
            label,
            value,
            video=scored.video,
            case=scored.video_cases,
            classes=[_triplet(name) for name in scored.classes],
        )


@dataclass(frozen=True, kw_only=True)
class NumberKind(Kind):
    """A number per window, averaged over the windows of a video."""

    metrics: tuple[str, ...] = METRICS_OF["numbers"]
    primary: str = PRIMARY_OF["numbers"]
    cell: Any = pa.float64()
    cell_name: str = "numbers"
    has_classes: bool = False

    @property
    def case_value(self) -> str:
        """Name of the value of a single case, as a rank correlation needs several."""
        return "minus the absolute error"

    def read(self, column: pa.ChunkedArray, classes: Sequence[str], path: Path) -> np.ndarray:
        """Return the numbers."""
        found: Float64[np.ndarray, " n"] = column.to_numpy()
        if not np.isfinite(found).all():
            raise ConfigError(f"{path} has numbers that are not finite; {REMEDY}")
        return found

    def read_predicted(
        self, column: pa.ChunkedArray, classes: Sequence[str], path: Path
    ) -> np.ndarray:
        """Return the numbers."""
        return self.read(column, classes, path)

    def table(self, scored: Scored, label: np.ndarray, value: np.ndarray) -> CaseTable:
        """Return the true and the predicted number of each video."""
        counts = np.bincount(scored.video)
        true, predicted = (
            np.bincount(scored.video, weights=each) / counts for each in (label, value)
        )
        return Numbers(
            case=scored.video_cases,
            value=true,
            predicted=predicted,
            num_cases=scored.num_cases,
        )


KINDS: dict[str, Kind] = {
    each.name: each
    for each in (
        Kind(name="classes"),
        PhaseKind(name="phases"),
        LabelKind(name="labels"),
        TripletKind(name="triplets"),
        NumberKind(name="numbers"),
    )
}
"""All kinds, by their names in `evaluation.json`."""


def _class_indices(column: Any, classes: Sequence[str], path: Path) -> Int64[np.ndarray, " n"]:
    """Return the class of each text."""
    indices = pc.index_in(column, value_set=pa.array(classes, pa.string()))
    if indices.null_count:
        unknown = column.filter(pc.is_null(indices))[0].as_py()
        raise ConfigError(
            f"{path} has the class {unknown!r}, which is not listed in evaluation.json; {REMEDY}"
        )
    return np.asarray(indices.to_numpy(), dtype=np.int64)


def _triplet(value: str) -> Triplet:
    parts = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(
            f"the class {value!r} is not a triplet of instrument, verb and target; {REMEDY}"
        )
    return Triplet(*parts)
