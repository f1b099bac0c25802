"""Which label a window has: the value that holds at the moment of its last frame."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError
from surgrec.evaluation.split import CaseVideo
from surgrec.features import WindowRow
from surgrec.shards import Source, VideoLabel, read_corpus_labels

UNLABELED = ""
"""In place of a value, which is never empty."""
_SAME_MOMENT_S = 1e-6

LabelsByVideo = Mapping[tuple[str, str], Sequence[VideoLabel]]
"""Labels of one task by source and video."""


def task_labels(
    sources: Mapping[str, Source], videos: Iterable[CaseVideo], task: str
) -> LabelsByVideo:
    """The labels of one task for some videos of opened corpora.

    Raises:
        ConfigError: None of the videos has a label of the task.
    """
    wanted = {(video.source, video.video) for video in videos}
    found: dict[tuple[str, str], list[VideoLabel]] = defaultdict(list)
    tasks: set[str] = set()
    for name in sorted({source for source, _ in wanted}):
        for label in read_corpus_labels(sources[name]):
            if (name, label.video) in wanted:
                tasks.add(label.task)
                if label.task == task:
                    found[name, label.video].append(label)
    if not found:
        known = (
            f"they have labels of {', '.join(sorted(tasks))}"
            if tasks
            else "they have no labels at all"
        )
        raise ConfigError(f"the videos of the split have no labels of the task {task!r}; {known}")
    return dict(found)


def require_one_value(labels: LabelsByVideo, sampling: ClipSampling, stride_s: float) -> None:
    """Refuses labels with two values at a moment at which a window may end, before windows are computed.

    Raises:
        ConfigError: Names the video, the moment and both values.
    """
    for (source, video), own in labels.items():
        starts = np.arange(0.0, max(label.end_s for label in own), stride_s)
        values_at(own, starts + (sampling.num_frames - 1) / sampling.fps, f"{source}/{video}")


def window_values(rows: Sequence[WindowRow], labels: LabelsByVideo, num_frames: int) -> list[str]:
    """The value of each window: the one that holds at its last frame, so what is known by then; or `UNLABELED`.

    Args:
        rows: The windows.
        labels: Of one task.
        num_frames: Frames of a window, evenly spaced.

    Raises:
        ConfigError: Two values cover one moment.
    """
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.source, row.video].append(place)
    values = [UNLABELED] * len(rows)
    for (source, video), own in places.items():
        times = np.array([(rows[place].start_s, rows[place].end_s) for place in own])
        last_frames = times[:, 1] - (times[:, 1] - times[:, 0]) / num_frames
        found = values_at(labels.get((source, video), ()), last_frames, f"{source}/{video}")
        for place, value in zip(own, found, strict=True):
            values[place] = value
    return values


def values_at(
    labels: Sequence[VideoLabel], moments: Float64[np.ndarray, " n"], where: str
) -> list[str]:
    """The value that covers each moment of a video, or `UNLABELED`. A stretch holds its start and not its end.

    Args:
        labels: Of one task and one video.
        moments: Seconds from the video's start.
        where: The video, for the error.

    Raises:
        ConfigError: Two values cover one moment.
    """
    found = [UNLABELED] * len(moments)
    for label in labels:
        covered = (moments >= label.start_s - _SAME_MOMENT_S) & (
            moments < label.end_s - _SAME_MOMENT_S
        )
        for place in np.flatnonzero(covered):
            if found[place] not in (UNLABELED, label.value):
                raise ConfigError(
                    f"{where} has two values of {label.task} at {moments[place]:g} s, {found[place]!r} and "
                    f"{label.value!r}; evaluate a task with one value at a time"
                )
            found[place] = label.value
    return found
