"""The labeled windows of both parts of a split, as indices for probes and scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.evaluation._window_labels import UNLABELED
from surgrec.features import FailedWindow, WindowRow
from surgrec.scores import GroundTruth
from surgrec.splits import CaseVideo


@dataclass(frozen=True, kw_only=True)
class PartWindows:
    """The windows of one part of a split that have a label, and the numbers of all others."""

    rows: list[WindowRow]
    values: list[str]
    """Label of each window."""
    indices: Int64[np.ndarray, " n"]
    """Index of each window among all windows of the features."""
    unlabeled: int
    """Windows without a label."""
    failed: int
    """Windows that could not be decoded, plus videos whose windows are not even known."""
    num_cases: int
    """Cases of the part, with or without labels."""

    @property
    def cases(self) -> list[str]:
        """Case of each window, unique over all sources."""
        return [f"{row.source}/{row.case}" for row in self.rows]

    @property
    def cases_without_label(self) -> int:
        """Number of cases without a labeled window."""
        return self.num_cases - len(set(self.cases))

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of cases and videos with a labeled window, and of windows."""
        return {
            "cases": len(set(self.cases)),
            "videos": len({(row.source, row.video) for row in self.rows}),
            "windows": len(self.rows),
            "unlabeled": self.unlabeled,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class LabeledWindows:
    """The windows of both parts, with labels and cases as indices."""

    train: PartWindows
    test: PartWindows

    @cached_property
    def classes(self) -> list[str]:
        """All labels, sorted. The index of a label is its class."""
        return sorted({*self.train.values, *self.test.values})

    @cached_property
    def train_labels(self) -> Int64[np.ndarray, " n"]:
        """Class of each train window."""
        return _indices(self.train.values, self.classes)

    @cached_property
    def train_cases(self) -> Int64[np.ndarray, " n"]:
        """Case of each train window, as an index."""
        return _indices(self.train.cases, sorted(set(self.train.cases)))

    @cached_property
    def train_shares(self) -> Float64[np.ndarray, " classes"]:
        """Share of each class among the train windows."""
        return np.bincount(self.train_labels, minlength=len(self.classes)) / len(self.train_labels)

    @cached_property
    def truth(self) -> GroundTruth:
        """Cases and classes of the test windows."""
        cases = sorted(set(self.test.cases))
        return GroundTruth(
            case=_indices(self.test.cases, cases),
            label=_indices(self.test.values, self.classes),
            num_cases=len(cases),
            num_classes=len(self.classes),
        )

    @property
    def class_rows(self) -> list[dict[str, str | int]]:
        """The rows `classes` of `evaluation.json`: windows per label."""
        train, test = Counter(self.train.values), Counter(self.test.values)
        return [
            {"value": value, "train": train[value], "test": test[value]} for value in self.classes
        ]


def part_windows(
    videos: Sequence[CaseVideo],
    rows: Sequence[WindowRow],
    values: Sequence[str],
    failed: Sequence[FailedWindow],
) -> PartWindows:
    """Return the windows of one part of a split.

    Args:
        videos: Videos of the part.
        rows: All windows of the features.
        values: Label of each window, or `UNLABELED`.
        failed: Windows that the features lack.
    """
    members = {(video.source, video.video) for video in videos}
    indices = [index for index, row in enumerate(rows) if (row.source, row.video) in members]
    labeled = [index for index in indices if values[index] != UNLABELED]
    return PartWindows(
        rows=[rows[index] for index in labeled],
        values=[values[index] for index in labeled],
        indices=np.array(labeled, dtype=np.int64),
        unlabeled=len(indices) - len(labeled),
        failed=sum((window.source, window.video) in members for window in failed),
        num_cases=len({video.case_name for video in videos}),
    )


def _indices(names: Sequence[str], sorted_names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    index_of = {name: index for index, name in enumerate(sorted_names)}
    return np.array([index_of[name] for name in names], dtype=np.int64)
