"""The label of each window: the value at its last frame."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float64

from surgrec.annotations import NONE_PRESENT
from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.features import MOST_WINDOWS, WindowRow
from surgrec.shards import Source, VideoLabel, read_corpus_labels
from surgrec.splits import CaseVideo

UNLABELED = ""
"""Marks a missing label; a label is never empty."""

_SAME_TIME_S = 1e-6

Value = str | tuple[str, ...]
"""Label of a window: one value, or the values of a task that may have several at a time."""

LabelsByVideo = Mapping[tuple[str, str], Sequence[VideoLabel]]
"""Labels of one task by source and video."""


def task_labels(
    sources: Mapping[str, Source], videos: Iterable[CaseVideo], task: str
) -> LabelsByVideo:
    """Return the labels of one task for videos of opened corpora.

    Raises:
        ConfigError: None of the videos has a label of the task.
    """
    wanted = {(video.source, video.video) for video in videos}
    labels: dict[tuple[str, str], list[VideoLabel]] = defaultdict(list)
    tasks: set[str] = set()
    for name in sorted({source for source, _ in wanted}):
        for label in read_corpus_labels(sources[name]):
            if (name, label.video) in wanted:
                tasks.add(label.task)
                if label.task == task:
                    labels[name, label.video].append(label)

    if not labels:
        known = f"labels of {', '.join(sorted(tasks))}" if tasks else "no labels at all"
        raise ConfigError(
            f"the videos of the split have no labels of the task {task!r}; they have {known}"
        )
    return dict(labels)


def require_one_value(labels: LabelsByVideo, sampling: ClipSampling, stride_s: float) -> None:
    """Refuse labels with two values at a time at which a window may end.

    This needs no windows, so it can run before they are computed.

    Raises:
        ConfigError: Names the video, the time and both values.
    """
    for (source, video), group in labels.items():
        last_s = max(label.end_s for label in group)
        if last_s > MOST_WINDOWS * stride_s:
            raise ConfigError(
                f"{source}/{video}: a label of {group[0].task} ends at {last_s:g} s, so there "
                f"could be more than {MOST_WINDOWS} windows; correct it, or give a larger "
                "--stride_s"
            )
        starts = np.arange(0.0, last_s, stride_s)
        last_frames = starts + (sampling.num_frames - 1) / sampling.fps
        values_at(group, last_frames, f"{source}/{video}")


def label_times(rows: Sequence[WindowRow], num_frames: int) -> Float64[np.ndarray, " n"]:
    """Return the time of the last frame of each window, in seconds of the video.

    Args:
        rows: The windows.
        num_frames: Frames of a window, evenly spaced.
    """
    starts_s, ends_s = (
        np.array([getattr(row, name) for row in rows], dtype=np.float64)
        for name in ("start_s", "end_s")
    )
    return np.asarray(ends_s - (ends_s - starts_s) / num_frames)


def window_values(
    rows: Sequence[WindowRow],
    times_s: Float64[np.ndarray, " n"],
    labels: LabelsByVideo,
    *,
    several: bool = False,
) -> list[Value]:
    """Return the label of each window, or `UNLABELED`.

    It is the value at the window's last frame: the phase at that moment, predicted from the seconds
    before it, as in online phase recognition.

    Args:
        rows: The windows.
        times_s: Times of their last frames, of `label_times`.
        labels: Labels of one task.
        several: Whether a time may have several values, or none. A video without any label is then
            unlabeled. If a source has labels `NONE_PRESENT`, times without any label are, too; else
            they have no class.

    Raises:
        ConfigError: Two values cover one time, and `several` is false.
    """
    indices_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        indices_of[row.source, row.video].append(index)

    states_none = {
        source
        for (source, _), group in labels.items()
        if any(label.value == NONE_PRESENT for label in group)
    }
    values: list[Value] = [UNLABELED] * len(rows)
    for (source, video), indices in indices_of.items():
        video_labels = labels.get((source, video), ())
        video_values: Sequence[Value] = (
            sets_at(video_labels, times_s[indices], states_none=source in states_none)
            if several and video_labels
            else values_at(video_labels, times_s[indices], f"{source}/{video}")
        )
        for index, value in zip(indices, video_values, strict=True):
            values[index] = value
    return values


def values_at(
    labels: Sequence[VideoLabel], times: Float64[np.ndarray, " n"], context: str
) -> list[str]:
    """Return the value at each time of a video, or `UNLABELED`; `NONE_PRESENT` is no value.

    A label covers its start but not its end.

    Args:
        labels: Labels of one task and one video.
        times: Seconds from the start of the video.
        context: Name of the video, for the error.

    Raises:
        ConfigError: Two values cover one time.
    """
    values = [UNLABELED] * len(times)
    for label in labels:
        if label.value == NONE_PRESENT:
            continue
        for index in np.flatnonzero(_covered(label, times)):
            if values[index] not in (UNLABELED, label.value):
                raise ConfigError(
                    f"{context} has two values of {label.task} at {times[index]:g} s, "
                    f"{values[index]!r} and {label.value!r}; evaluate a task with one value at a "
                    "time, or give --task_kind labels"
                )
            values[index] = label.value

    return values


def sets_at(
    labels: Sequence[VideoLabel], times: Float64[np.ndarray, " n"], *, states_none: bool = False
) -> list[Value]:
    """Return the values at each time of a video, each once, sorted; maybe none.

    Args:
        labels: Labels of one task and one video.
        times: Seconds from the start of the video.
        states_none: Whether annotated times without a class have the label `NONE_PRESENT`: a time
            without any label is then `UNLABELED`.
    """
    values: list[set[str]] = [set() for _ in times]
    for label in labels:
        for index in np.flatnonzero(_covered(label, times)):
            values[index].add(label.value)
    return [
        UNLABELED if states_none and not each else tuple(sorted(each - {NONE_PRESENT}))
        for each in values
    ]


def _covered(label: VideoLabel, times: Float64[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Return which times a label covers: its start, but not its end."""
    return (times >= label.start_s - _SAME_TIME_S) & (times < label.end_s - _SAME_TIME_S)
