"""The labeled windows of both parts of a split, as indices for probes and scores."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.evaluation._window_labels import (
    UNLABELED,
    LabelsByVideo,
    Value,
    label_times,
    window_values,
)
from surgrec.features import FailedWindow, WindowRow
from surgrec.scores import GroundTruth
from surgrec.splits import CaseVideo, Parts


@dataclass(frozen=True, kw_only=True)
class PartWindows:
    """The windows of one part of a split that have a label, and the numbers of all others."""

    rows: list[WindowRow]
    values: Sequence[Value]
    """Label of each window: one value, or those of a task with several at a time."""
    times_s: Float64[np.ndarray, " n"]
    """Time of each label: that of the window's last frame, in seconds of the video."""
    indices: Int64[np.ndarray, " n"]
    """Index of each window among all windows of the features."""
    unlabeled: int
    """Windows without a label."""
    failed: int
    """Windows that could not be decoded, plus videos whose windows are not even known."""
    num_cases: int
    """Cases of the part, with or without labels."""

    @property
    def names(self) -> list[str]:
        """The names of classes of all windows, one behind the other."""
        return [name for value in self.values for name in names_of(value)]

    @property
    def cases(self) -> list[str]:
        """Case of each window, unique over all sources."""
        return [f"{row.source}/{row.case}" for row in self.rows]

    @property
    def case_names(self) -> list[str]:
        """The cases with a labeled window, sorted."""
        return sorted(set(self.cases))

    @property
    def case_indices(self) -> Int64[np.ndarray, " n"]:
        """Case of each window, as an index into `case_names`."""
        return _indices(self.cases, self.case_names)

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

    def at(self, windows: Int64[np.ndarray, " k"]) -> "PartWindows":
        """Return the labeled windows of these positions. Counts of others stay."""
        return replace(
            self,
            rows=[self.rows[index] for index in windows],
            values=[self.values[index] for index in windows],
            times_s=self.times_s[windows],
            indices=self.indices[windows],
        )


@dataclass(frozen=True)
class LabeledWindows:
    """The windows of all parts, with labels and cases as indices."""

    train: PartWindows
    test: PartWindows
    val: PartWindows | None = None
    """None if the split has no such part."""
    further_classes: tuple[str, ...] = ()
    """Labels that no window needs to have, but that are classes."""

    @property
    def by_name(self) -> dict[str, PartWindows]:
        """The parts, in the order train, val, test."""
        parts = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def num_rows(self) -> int:
        """A number that is larger than each of the parts' `indices`."""
        return max(int(part.indices.max(initial=-1)) for part in self.by_name.values()) + 1

    @cached_property
    def classes(self) -> list[str]:
        """All labels, sorted. The index of a label is its class."""
        names = {name for part in self.by_name.values() for name in part.names}
        return sorted(names.union(self.further_classes))

    def with_few(self, windows: Int64[np.ndarray, " k"]) -> "LabeledWindows":
        """Return some of the train windows and the test windows, with the same classes."""
        return replace(
            self, train=self.train.at(windows), val=None, further_classes=tuple(self.classes)
        )

    @cached_property
    def train_labels(self) -> Int64[np.ndarray, " n"]:
        """Class of each train window."""
        return self.labels_of(self.train)

    def labels_of(self, part: PartWindows) -> Int64[np.ndarray, " n"]:
        """Return the class of each window of a part; -1 if the task has several at a time."""
        index_of = {name: index for index, name in enumerate(self.classes)}
        return np.array(
            [index_of[value] if isinstance(value, str) else -1 for value in part.values],
            dtype=np.int64,
        )

    def sets_of(self, part: PartWindows) -> Bool[np.ndarray, "n classes"]:
        """Return which classes each window of a part has."""
        index_of = {name: index for index, name in enumerate(self.classes)}
        present = np.zeros((len(part.values), len(self.classes)), dtype=bool)
        for row, value in enumerate(part.values):
            present[row, [index_of[name] for name in names_of(value)]] = True
        return present

    @cached_property
    def train_shares(self) -> Float64[np.ndarray, " classes"]:
        """Share of each class among the train windows."""
        return np.bincount(self.train_labels, minlength=len(self.classes)) / len(self.train_labels)

    @cached_property
    def truth(self) -> GroundTruth:
        """Cases and classes of the test windows."""
        return GroundTruth(
            case=self.test.case_indices,
            label=self.labels_of(self.test),
            num_cases=len(self.test.case_names),
            num_classes=len(self.classes),
        )

    @property
    def class_rows(self) -> list[dict[str, str | int]]:
        """The rows `classes` of `evaluation.json`: windows per label."""
        counts = {name: Counter(part.names) for name, part in self.by_name.items()}
        return [
            {"value": value, **{name: count[value] for name, count in counts.items()}}
            for value in self.classes
        ]


def names_of(value: Value) -> tuple[str, ...]:
    """Return the names of classes in the label of a window."""
    return (value,) if isinstance(value, str) else value


def labeled_windows(
    parts: Parts,
    rows: Sequence[WindowRow],
    failed: Sequence[FailedWindow],
    labels: LabelsByVideo,
    *,
    num_frames: int,
    several: bool = False,
) -> LabeledWindows:
    """Return the labeled windows of each part of a split.

    Args:
        parts: The videos of each part.
        rows: All windows that could be read.
        failed: Windows that could not be read.
        labels: Labels of the task.
        num_frames: Frames of a window, evenly spaced.
        several: Whether a time may have several values.

    Raises:
        ConfigError: Two values cover one time.
    """
    times_s = label_times(rows, num_frames)
    values = window_values(rows, times_s, labels, several=several)
    found = {
        name: _part_windows(videos, rows, values, times_s, failed)
        for name, videos in parts.by_name.items()
    }
    return LabeledWindows(train=found["train"], test=found["test"], val=found.get("val"))


def _part_windows(
    videos: Sequence[CaseVideo],
    rows: Sequence[WindowRow],
    values: Sequence[Value],
    times_s: Float64[np.ndarray, " n"],
    failed: Sequence[FailedWindow],
) -> PartWindows:
    """Return the windows of one part of a split."""
    members = {(video.source, video.video) for video in videos}
    indices = [index for index, row in enumerate(rows) if (row.source, row.video) in members]
    labeled = [index for index in indices if values[index] != UNLABELED]
    return PartWindows(
        rows=[rows[index] for index in labeled],
        values=[values[index] for index in labeled],
        times_s=times_s[labeled],
        indices=np.array(labeled, dtype=np.int64),
        unlabeled=len(indices) - len(labeled),
        failed=sum((window.source, window.video) in members for window in failed),
        num_cases=len({video.case_name for video in videos}),
    )


def _indices(names: Sequence[str], sorted_names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    index_of = {name: index for index, name in enumerate(sorted_names)}
    return np.array([index_of[name] for name in names], dtype=np.int64)
