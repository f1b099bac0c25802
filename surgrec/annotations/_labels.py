"""Labels, and the clock of the video that they describe."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

NONE_PRESENT = "(none)"
"""Value of a label that says: this time was annotated, and no class of the task is present."""


@dataclass(frozen=True, kw_only=True)
class Label:
    """A value of a task over a time segment of a video or of a clip."""

    task: str
    """Name of the task, such as `phase`."""
    start_s: float
    """Start of the segment, seconds from the start of the video, or in a shard of the clip."""
    end_s: float
    """End of the segment, seconds, after `start_s`."""
    value: str
    """Value of the task, such as `dissection`; or `NONE_PRESENT`."""


@dataclass(frozen=True, kw_only=True)
class VideoLabels:
    """The labels of one video, from its annotation files."""

    labels: tuple[Label, ...] = ()
    """Sorted by time."""
    places: tuple[str, ...] = ()
    """Place of each label: its file and line."""
    dropped: tuple[Label, ...] = ()
    """Stretches that a build leaves out, by tracks with `drop`. The value is the reason."""
    zero_lengths: int = 0
    """Rows that end at their start. They label no frame, so they are not in `labels`."""
    left_out: int = 0
    """Rows that the mapping leaves out: values listed under `ignore`, repeated or backward labels,
    and rows without a cell that `require` names."""
    rows: tuple[tuple[int, ...], ...] = ()
    """Number of rows of each file of each mapping, also of those about other videos."""


@dataclass(frozen=True, kw_only=True)
class VideoClock:
    """When the pictures of a video appear: the clock that turns frame numbers into seconds."""

    pictures_s: Float64[np.ndarray, " n"]
    """Time of each picture, ascending, seconds of the video."""
    end_s: float
    """End of the last picture, seconds."""

    def at(self, frame: int) -> float:
        """Return when a frame appears, seconds.

        Frames behind the last one continue at the mean rate, so that labels of another video end
        late and are found.

        Args:
            frame: Number of the frame, from 0.
        """
        count = len(self.pictures_s)
        if frame < count:
            return float(self.pictures_s[frame])
        return self.end_s + (frame - count) * self.end_s / count
