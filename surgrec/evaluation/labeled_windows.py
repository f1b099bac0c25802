"""The labeled windows of both parts of a split."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.evaluation.labels import UNLABELED
from surgrec.evaluation.scores import Answers
from surgrec.evaluation.split import CaseVideo
from surgrec.features import FailedWindow, WindowRow


@dataclass(frozen=True, kw_only=True)
class PartWindows:
    """The windows of one part that have a label, and how many others there are."""

    rows: list[WindowRow]
    values: list[str]
    """Their labels."""
    places: Int64[np.ndarray, " n"]
    """Of these windows among all windows of the features."""
    unlabeled: int
    failed: int
    """Windows that could not be decoded, and videos where not even windows are known."""
    num_cases: int
    """Of the part, with labels or without."""

    @property
    def cases(self) -> list[str]:
        """The case of each window, unique over all sources."""
        return [f"{row.source}/{row.case}" for row in self.rows]

    @property
    def cases_without_label(self) -> int:
        """Cases of which no window has a label."""
        return self.num_cases - len(set(self.cases))

    @property
    def counts(self) -> dict[str, int]:
        """How much there is: cases and videos with at least one labeled window, and windows."""
        return {
            "cases": len(set(self.cases)),
            "videos": len({(row.source, row.video) for row in self.rows}),
            "windows": len(self.rows),
            "unlabeled": self.unlabeled,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class LabeledWindows:
    """Both parts, and their labels and cases as the numbers that classifiers and scores take."""

    train: PartWindows
    test: PartWindows

    @cached_property
    def classes(self) -> list[str]:
        """All labels, sorted: a label is its place here."""
        return sorted({*self.train.values, *self.test.values})

    @cached_property
    def train_labels(self) -> Int64[np.ndarray, " n"]:
        """The label of each train window."""
        return _indices(self.train.values, self.classes)

    @cached_property
    def train_cases(self) -> Int64[np.ndarray, " n"]:
        """The case of each train window."""
        return _indices(self.train.cases, sorted(set(self.train.cases)))

    @cached_property
    def train_share(self) -> Float64[np.ndarray, " classes"]:
        """The share of each class among the train windows."""
        return np.bincount(self.train_labels, minlength=len(self.classes)) / len(self.train_labels)

    @cached_property
    def answers(self) -> Answers:
        """What predictions for the test windows are compared with."""
        cases = sorted(set(self.test.cases))
        return Answers(
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
    """The windows of some videos.

    Args:
        videos: Of the part.
        rows: All windows of the features.
        values: The label of each, or `UNLABELED`.
        failed: Windows that the features lack.
    """
    own = {(video.source, video.video) for video in videos}
    places = [place for place, row in enumerate(rows) if (row.source, row.video) in own]
    labeled = [place for place in places if values[place] != UNLABELED]
    return PartWindows(
        rows=[rows[place] for place in labeled],
        values=[values[place] for place in labeled],
        places=np.array(labeled, dtype=np.int64),
        unlabeled=len(places) - len(labeled),
        failed=sum((window.source, window.video) in own for window in failed),
        num_cases=len({video.case_name for video in videos}),
    )


def _indices(names: Sequence[str], sorted_names: Sequence[str]) -> Int64[np.ndarray, " n"]:
    place = {name: index for index, name in enumerate(sorted_names)}
    return np.array([place[name] for name in names], dtype=np.int64)
