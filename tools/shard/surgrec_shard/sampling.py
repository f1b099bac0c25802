"""Sampling: from decoded pictures to frames at a constant rate. Pure: pictures in, frames out.

Frame `k` shows second `k / rate` of the video. Where pictures are missing, the frames stop and
start again behind the gap: a frozen picture is never stored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from surgrec.recordings import PAUSE_S, Picture, Timeline

_PICTURES_PER_FRAME = 2
"""Pictures that are read per frame of an unsteady recording, so that the nearer one is taken."""
_MOST_SPACINGS = 3
"""Times between pictures that are asked for, within which pictures are not missing."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """One picture as consecutive frames."""

    data: bytes
    first: int
    """Number of the first of these frames in the video."""
    count: int
    starts: bool
    """Whether the frames before these are missing: an encoder must start anew."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A stretch of the video that is not stored, seconds."""

    start_s: float
    end_s: float
    reason: Literal["gap", "damaged"]


def picture_rate(timeline: Timeline, rate: Fraction) -> float | None:
    """Return how many pictures per second are read for frames at a rate; None: all.

    Of a steady recording, the reader returns the nearest picture to each frame. At low rates, these
    pictures would be too far apart to tell that others are missing.
    """
    most = _PICTURES_PER_FRAME * float(rate)
    if most >= timeline.rate:
        return None
    tells_missing = _MOST_SPACINGS / float(rate) <= PAUSE_S / 2
    return float(rate) if timeline.is_steady and tells_missing else most


@dataclass(kw_only=True)
class _Shown:
    """The picture on screen, and the frame at which it appeared."""

    picture: Picture
    frame: int
    starts: bool


@dataclass(kw_only=True)
class Sampler:
    """Frames at a constant rate from the pictures of one recording.

    Args:
        timeline: The recording's clock.
        rate: Frames per second. At the timeline's rate, every picture becomes a frame.
        picture_rate: Pictures per second that the reader returns at least, if there are as many.
    """

    timeline: Timeline
    rate: Fraction
    picture_rate: float | None = None
    missing: list[Missing] = field(default_factory=list)
    """The stretches without frames, complete after the last picture."""
    end_s: float = 0.0
    """End of the last picture that can be decoded, seconds."""
    _decoded_s: float = 0.0

    def frames(self, pictures: Iterable[Picture]) -> Iterator[Frames]:
        """Yield the frames of all pictures, in order."""
        shown: _Shown | None = None
        last_frame = max(0, self._frame_at(self.timeline.duration_s) - 1)
        for picture in pictures:
            self._decoded_s = max(self._decoded_s, picture.time_s)
            if not picture.is_trusted:
                continue
            frame = min(self._frame_at(picture.time_s), last_frame)

            if shown is None:
                shown = self._first(picture, frame)
            elif self.timeline.is_missing(shown.picture.time_s, picture.time_s, self._spacing_s):
                last = Frames(
                    data=shown.picture.data,
                    first=shown.frame,
                    count=self._usual_frames(),
                    starts=shown.starts,
                )
                yield last
                frame = max(frame, last.first + last.count)
                self._record(last.first + last.count, frame, shown.picture, picture)
                shown = _Shown(picture=picture, frame=frame, starts=True)
            else:
                if self._keeps_all() and frame <= shown.frame and self._lag_s(shown) < PAUSE_S:
                    frame = shown.frame + 1
                if frame > shown.frame:
                    yield _held(shown, frame)
                    shown = _Shown(picture=picture, frame=frame, starts=False)
                elif self._distance(picture, shown) < self._distance(shown.picture, shown):
                    shown.picture = picture
            self.end_s = max(self.end_s, picture.time_s)

        if shown is not None:
            yield self._last(shown)
        else:
            self.end_s = self._decoded_s
            self.missing.append(Missing(start_s=0.0, end_s=self.end_s, reason="damaged"))

    def _last(self, shown: _Shown) -> Frames:
        """Return the frames of the last picture, and record missing time behind it."""
        duration_s = end_s = self.timeline.duration_s
        if end_s - shown.picture.time_s > max(PAUSE_S / 2, _MOST_SPACINGS * self._spacing_s):
            end_s = shown.picture.time_s + self._usual_frames() / float(self.rate)
        if duration_s - end_s > PAUSE_S:
            self.missing.append(Missing(start_s=end_s, end_s=duration_s, reason="damaged"))
        self.end_s = max(self.end_s, end_s, self._decoded_s)
        return _held(shown, max(self._frame_at(end_s), shown.frame + 1))

    def _first(self, picture: Picture, frame: int) -> _Shown:
        """Return the first picture. It also shows a moment before it."""
        if self.timeline.is_start(picture.time_s):
            return _Shown(picture=picture, frame=0, starts=True)
        self.missing.append(Missing(start_s=0.0, end_s=float(frame / self.rate), reason="damaged"))
        return _Shown(picture=picture, frame=frame, starts=True)

    def _record(self, first: int, end: int, before: Picture, after: Picture) -> None:
        if end <= first:
            return
        is_gap = self.timeline.is_gap(before.time_s, after.time_s)
        self.missing.append(
            Missing(
                start_s=float(first / self.rate),
                end_s=float(end / self.rate),
                reason="gap" if is_gap else "damaged",
            )
        )

    def _frame_at(self, time_s: float) -> int:
        return int(time_s * float(self.rate) + 0.5)

    def _usual_frames(self) -> int:
        """Return for how many frames a picture before a gap is shown."""
        return max(1, min(round(float(self.rate) / self.timeline.average_rate), int(self.rate)))

    @property
    def _spacing_s(self) -> float:
        return 1 / self.picture_rate if self.picture_rate else 0.0

    def _keeps_all(self) -> bool:
        return self.rate >= self.timeline.rate

    def _lag_s(self, shown: _Shown) -> float:
        return float(shown.frame / self.rate) - shown.picture.time_s

    def _distance(self, picture: Picture, shown: _Shown) -> float:
        return abs(picture.time_s - float(shown.frame / self.rate))


def _held(shown: _Shown, until: int) -> Frames:
    return Frames(
        data=shown.picture.data,
        first=shown.frame,
        count=until - shown.frame,
        starts=shown.starts,
    )
