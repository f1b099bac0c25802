"""The label of each window: the value at its last frame."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.features import MOST_WINDOWS, WindowRow
from surgrec.shards import Source, VideoLabel, read_corpus_labels
from surgrec.splits import CaseVideo

UNLABELED = ""
"""Marks a missing label; a label is never empty."""

_SAME_TIME_S = 1e-6

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


def window_values(rows: Sequence[WindowRow], labels: LabelsByVideo, num_frames: int) -> list[str]:
    """Return the label of each window, or `UNLABELED`.

    It is the value at the window's last frame: the phase at that moment, predicted from the seconds
    before it, as in online phase recognition.

    Args:
        rows: The windows.
        labels: Labels of one task.
        num_frames: Frames of a window, evenly spaced.

    Raises:
        ConfigError: Two values cover one time.
    """
    indices_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        indices_of[row.source, row.video].append(index)

    values = [UNLABELED] * len(rows)
    for (source, video), indices in indices_of.items():
        times = np.array([(rows[index].start_s, rows[index].end_s) for index in indices])
        last_frames = times[:, 1] - (times[:, 1] - times[:, 0]) / num_frames
        video_labels = labels.get((source, video), ())
        video_values = values_at(video_labels, last_frames, f"{source}/{video}")
        for index, value in zip(indices, video_values, strict=True):
            values[index] = value
    return values


def values_at(
    labels: Sequence[VideoLabel], times: Float64[np.ndarray, " n"], context: str
) -> list[str]:
    """Return the value at each time of a video, or `UNLABELED`.

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
        covered = (times >= label.start_s - _SAME_TIME_S) & (times < label.end_s - _SAME_TIME_S)

        for index in np.flatnonzero(covered):
            if values[index] not in (UNLABELED, label.value):
                raise ConfigError(
                    f"{context} has two values of {label.task} at {times[index]:g} s, "
                    f"{values[index]!r} and {label.value!r}; evaluate a task with one value at a "
                    "time"
                )
            values[index] = label.value

    return values
