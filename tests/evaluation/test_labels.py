"""The label of each window."""

from pathlib import Path

import numpy as np
import pytest

from surgrec.annotations import NONE_PRESENT
from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.evaluation._window_labels import (
    UNLABELED,
    label_times,
    require_one_value,
    task_labels,
    values_at,
    window_values,
)
from surgrec.features import WindowRow
from surgrec.shards import VideoLabel, open_corpus
from surgrec.splits import corpus_videos
from tests.support.evaluations import window_row


def label(value: str, start_s: float, end_s: float, video: str = "v") -> VideoLabel:
    """Return a label of the task `phase`."""
    times = {"start_s": float(start_s), "end_s": float(end_s)}
    return VideoLabel(video=video, case="c", split="train", task="phase", value=value, **times)


def window(start_s: float, video: str = "v") -> WindowRow:
    """Return a window of 2 s."""
    return window_row("c", start_s, video=video)


def test_a_label_covers_its_start_and_not_its_end() -> None:
    labels = [label("access", 1, 3), label("dissection", 3, 5)]
    times = np.array([0.5, 1.0, 2.999, 3.0, 4.9, 5.0])
    assert values_at(labels, times, "v") == [
        UNLABELED,
        "access",
        "access",
        "dissection",
        "dissection",
        UNLABELED,
    ]


def test_a_window_has_the_value_at_its_last_frame() -> None:
    labels = {
        ("alpha", "v"): [label("access", 0, 3), label("dissection", 3, 9)],
        ("alpha", "w"): [label("other", 0, 9)],
    }
    # Eight frames in 2 s: the last one is 1.75 s after the start.
    rows = [window(1.0), window(1.0, "w"), window(1.25), window(8.0), window(1.0, "without labels")]
    times_s = label_times(rows, num_frames=8)
    assert times_s.tolist() == [2.75, 2.75, 3.0, 9.75, 2.75]
    assert window_values(rows, times_s, labels) == [
        "access",
        "other",
        "dissection",
        UNLABELED,
        UNLABELED,
    ]


def test_equal_overlapping_values_merge_and_different_ones_are_refused() -> None:
    assert values_at([label("a", 0, 3), label("a", 2, 5)], np.array([2.5]), "v") == ["a"]
    with pytest.raises(ConfigError, match=r"src/v has two values of phase at 2.5 s, 'a' and 'b'"):
        values_at([label("a", 0, 3), label("b", 2, 5)], np.array([1.0, 2.5]), "src/v")


def test_a_time_that_nobody_annotated_is_no_time_without_a_class() -> None:
    rows = [window(start) for start in (0.0, 2.0, 4.0)] + [window(0.0, "w"), window(0.0, "x")]
    times_s = label_times(rows, num_frames=8)
    labels = {
        ("alpha", "v"): [label("C1", 0, 2), label("C2", 0, 2), label(NONE_PRESENT, 2, 4)],
        ("alpha", "w"): [label(NONE_PRESENT, 0, 2)],
    }
    assert window_values(rows, times_s, labels, several=True) == [
        ("C1", "C2"),
        (),
        UNLABELED,
        (),
        UNLABELED,
    ]

    # Labels of segments do not say where no class is present.
    segments = {("alpha", "v"): [label("C1", 0, 2)]}
    assert window_values(rows[:2], times_s[:2], segments, several=True) == [("C1",), ()]
    assert values_at([label(NONE_PRESENT, 0, 9)], np.array([1.0]), "v") == [UNLABELED]


def test_overlapping_labels_without_a_window_end_are_allowed() -> None:
    assert values_at([label("a", 0, 3), label("b", 2, 5)], np.array([1.0, 4.0]), "v") == ["a", "b"]


def test_two_values_at_a_time_are_refused_before_extraction() -> None:
    sampling = ClipSampling(num_frames=8, fps=4.0)  # the last frame is 1.75 s after the first
    twice = {("src", "v"): [label("a", 0, 3), label("b", 2.5, 5)]}
    require_one_value(twice, sampling, stride_s=2.0)
    with pytest.raises(ConfigError, match=r"src/v has two values of phase at 2.75 s"):
        require_one_value(twice, sampling, stride_s=1.0)


def test_labels_come_from_the_corpus_and_an_unknown_task_is_refused(
    tiny_corpus: Path,
) -> None:
    sources = open_corpus([tiny_corpus])
    videos = corpus_videos(sources)
    labels = task_labels(sources, videos, "phase")
    assert {source for source, _ in labels} == {"alpha"}
    assert sorted({row.value for rows in labels.values() for row in rows}) == [
        "access",
        "dissection",
    ]
    assert len(task_labels(sources, videos[:1], "phase")) == 1
    with pytest.raises(
        ConfigError, match=r"no labels of the task 'phases'; they have labels of phase, tool"
    ):
        task_labels(sources, videos, "phases")
    with pytest.raises(ConfigError, match="they have no labels at all"):
        task_labels(sources, [video for video in videos if video.source == "gamma"], "phase")
