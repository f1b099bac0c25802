"""Checks of labels against their video: their unit, overlaps and gaps. Pure functions."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from surgrec.annotations import Label, VideoLabels
from surgrec.recordings import BadVideoError
from surgrec_shard.groups import PlannedVideo

_OVERSHOOT_S, _OVERSHOOT_SHARE, _MOST_OVERSHOOT_S = 1.0, 0.02, 5.0
"""Accepted end of labels after the end of the video: published labels end a little late."""
_LEAST_SHARE = 0.5
"""Share of the video that labels cover in their true unit, at least, to suggest that unit."""
_EARLY_SHARE = 0.1
"""Share of the video in which all labels end, at most, to doubt their unit."""
_HAIR_S = 1e-6


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """Oddities of the labels of a video, for the private report."""

    label_overlaps: int = 0
    """Labels that begin before an earlier one of the same task ends."""
    label_gaps: int = 0
    """Stretches without a label between two labels of a task."""
    label_zero_lengths: int = 0
    """Labels that end at their start."""
    label_late_ends: int = 0
    """Labels that end a little after the video: stored up to its end, or not at all if they begin
    after it."""
    labels_end_early: int = 0
    """1 if all labels end in the first tenth of the video: their unit may be longer than seconds,
    such as minutes or numbers of samples."""
    label_left_out: int = 0
    """Values that the mapping leaves out."""


def count_oddities(annotations: VideoLabels, end_s: float) -> LabelCounts:
    """Count overlaps and gaps within each task, labels of length zero, and late ends.

    Args:
        annotations: The labels of a video.
        end_s: End of the video, seconds; infinity for a video that is not packed.
    """
    by_task: dict[str, list[Label]] = defaultdict(list)
    for label in annotations.labels:  # sorted by time
        by_task[label.task].append(label)

    overlaps = gaps = 0
    for labels in by_task.values():
        covered_s = labels[0].end_s
        for label in labels[1:]:
            overlaps += label.start_s < covered_s - _HAIR_S
            gaps += label.start_s > covered_s + _HAIR_S
            covered_s = max(covered_s, label.end_s)
    return LabelCounts(
        label_overlaps=overlaps,
        label_gaps=gaps,
        label_zero_lengths=annotations.zero_lengths,
        label_late_ends=sum(label.end_s > end_s + _HAIR_S for label in annotations.labels),
        labels_end_early=int(_end_early(annotations.labels, end_s)),
        label_left_out=annotations.left_out,
    )


def require_fitting_labels(planned: PlannedVideo, end_s: float, fps: float) -> None:
    """Refuse labels that end after their video.

    Args:
        planned: The video with its labels.
        end_s: Length of the video, seconds.
        fps: Frames per second of the video.

    Raises:
        BadVideoError: Names the first such line, the length of the video and the likely cause.
    """
    latest_s = latest_end_s(end_s)
    annotations = planned.annotations
    late = [
        (place, label)
        for place, label in zip(annotations.places, annotations.labels, strict=True)
        if label.end_s > latest_s
    ]
    if not late:
        return

    place, label = late[0]
    raise BadVideoError(
        "labels",
        f"{place}: a label ends at {label.end_s:g} s, but the video "
        f"lasts {end_s:.1f} s ({len(late)} of {len(annotations.labels)} labels end after it); "
        f"{_likely_cause(annotations.labels, end_s, latest_s, fps)}",
    )


def require_fitting_list(planned: PlannedVideo, end_s: float) -> None:
    """Refuse a list of stretches to drop that ends after its video: it is in another unit.

    Raises:
        BadVideoError: Names the list, the stretch and the length of the video.
    """
    for stretch in planned.listed:
        if stretch.end_s > latest_end_s(end_s):
            raise BadVideoError(
                "drop",
                f"{planned.video.drop or 'a track with `drop` of the mapping'}: the stretch from "
                f"{stretch.start_s:g} to {stretch.end_s:g} s ends after the video, which lasts "
                f"{end_s:.1f} s; give times of this video, in the unit that the file is read in",
            )


def latest_end_s(end_s: float) -> float:
    """Return the latest end of labels that is accepted for a video of this length, seconds."""
    return end_s + min(_OVERSHOOT_S + _OVERSHOOT_SHARE * end_s, _MOST_OVERSHOOT_S)


def labels_within(labels: Sequence[Label], end_s: float) -> list[Label]:
    """Return the labels of a video, cut at its end; a label that begins after it is left out."""
    return [
        replace(label, end_s=min(label.end_s, end_s)) for label in labels if label.start_s < end_s
    ]


def _end_early(labels: Sequence[Label], end_s: float) -> bool:
    last_s = max((label.end_s for label in labels), default=math.inf)
    return math.isfinite(end_s) and last_s < _EARLY_SHARE * end_s


def _likely_cause(labels: Sequence[Label], end_s: float, latest_s: float, fps: float) -> str:
    """Return the likely cause of labels that end late, with the remedy."""
    last = max(label.end_s for label in labels)
    are_whole = all(label.start_s.is_integer() and label.end_s.is_integer() for label in labels)

    for unit, divisor in (
        (f"frame numbers at {fps:g} frames per second", fps),
        ("milliseconds", 1e3),
    ):
        if are_whole and _LEAST_SHARE * end_s <= last / divisor <= latest_s:
            return f"the times look like {unit}, so divide them by {divisor:g}"
    return (
        "they may be in another unit than seconds, or of another video; write seconds of this video"
    )
