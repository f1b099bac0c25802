"""Ends of labels compared among the videos of a copy: labels on a wrong clock. Pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass

from surgrec.annotations import VideoLabels
from surgrec.text import counted
from surgrec_shard.label_checks import latest_end_s

_WHOLE, _EARLY = 0.9, 0.75
"""Share of a video in which labels end: they cover it from the first on, and not below the second.
"""
_MOST = 0.75
"""Share of a task's videos that must agree before the others are doubted."""
_LEAST_VIDEOS = 3
_CLOSE, _SIMILAR = 1.005, 1.1
"""Ratio of the largest to the smallest share of videos on one wrong clock: of some videos among
whole ones, and of most videos."""
_LISTED = 10


@dataclass(frozen=True, kw_only=True)
class LabelEnd:
    """The last end of the labels of a task in a video."""

    name: str
    """Path of the video, in the copy."""
    last_s: float
    video_s: float

    @property
    def share(self) -> float:
        """Share of the video up to which there are labels."""
        return self.last_s / self.video_s

    @property
    def is_early(self) -> bool:
        """Return whether the labels end well before the video."""
        slack_s = latest_end_s(self.video_s) - self.video_s
        return self.share < _EARLY and self.last_s + slack_s < self.video_s


def label_ends(name: str, annotations: VideoLabels, video_s: float) -> dict[str, LabelEnd]:
    """Return the last end of each task's labels in a video.

    Args:
        name: Path of the video, in the copy.
        annotations: Its labels.
        video_s: Its length, seconds.
    """
    last_s: dict[str, float] = {}
    for label in annotations.labels:
        last_s[label.task] = max(last_s.get(label.task, 0.0), label.end_s)
    return {
        task: LabelEnd(name=name, last_s=end_s, video_s=video_s) for task, end_s in last_s.items()
    }


def doubt_clocks(task: str, ends: Sequence[LabelEnd]) -> tuple[list[str], list[str]]:
    """Return sentences about labels on a wrong clock, and about single videos that end early.

    Only videos of one copy are compared. Where the ends are scattered, the labels of the task do
    not cover whole videos, and nothing is doubted.

    Args:
        task: Name of the task.
        ends: The ends of its labels, of the videos that have any.
    """
    early = [end for end in ends if end.is_early]
    if len(ends) < _LEAST_VIDEOS or not early:
        return [], []
    whole = sum(end.share >= _WHOLE for end in ends)
    least = _MOST * len(ends)

    group = _largest_group(early, _SIMILAR)
    if len(group) < least:
        group = _largest_group(early, _CLOSE)
        # By chance, two of many scattered ends agree.
        is_clock = len(group) > 1 and 2 * len(group) > len(early) and whole + len(group) >= least
        group = group if is_clock else []
    if whole + len(group) < least:
        return [], []
    single = [end for end in early if end not in group]
    return ([_clock(task, group)] if group else []), [_single(task, end) for end in single]


def _largest_group(ends: Sequence[LabelEnd], ratio: float) -> list[LabelEnd]:
    """Return the most ends whose largest share is at most `ratio` times the smallest one."""
    by_share = sorted(ends, key=lambda end: end.share)
    best: list[LabelEnd] = []
    first = 0
    for last, end in enumerate(by_share):
        while end.share > ratio * by_share[first].share:
            first += 1
        if last + 1 - first > len(best):
            best = by_share[first : last + 1]
    return best


def _clock(task: str, group: Sequence[LabelEnd]) -> str:
    names = sorted(end.name for end in group)
    listed = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
    share = sum(end.share for end in group) / len(group)
    return (
        f"labels of {task} end at about {share:.2g} of the video in "
        f"{counted(len(group), 'video')}, as on a wrong clock; correct the frame rate or the "
        f"labels of {listed}"
    )


def _single(task: str, end: LabelEnd) -> str:
    return (
        f"{end.name}: labels of {task} end at {end.last_s:.1f} s, but the video lasts "
        f"{end.video_s:.1f} s; those of most other videos cover it"
    )
