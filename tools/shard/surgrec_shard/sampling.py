"""Sampling: from decoded pictures to frames at a constant rate. Pure: pictures in, frames out.

Frame `k` stands for second `k / rate` of the video. Where pictures are missing, the frames stop and
start again behind the gap: a frozen picture is never stored.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

from surgrec.recordings import Picture, Timeline

PAUSE_S = 1.0
"""Pictures that are further apart may have a gap between them."""
_MISSING_PICTURES = 3
"""Pictures that must be missing for a gap."""
_HAIR_S, _LATE_S = 2e-3, 0.2
_CORRUPT_APART_S, _CORRUPT_LASTS_S = 0.5, 1.0


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
    """Time of the last picture, seconds."""
    corrupt: list[float] = field(default_factory=list)
    """Times of pictures from damaged data, seconds."""

    def frames(self, pictures: Iterable[Picture]) -> Iterator[Frames]:
        """Yield the frames of all pictures, in order."""
        shown: _Shown | None = None
        last_frame = max(0, self._frame_at(self.timeline.duration_s) - 1)
        for picture in self._trusted(pictures):
            if picture.is_corrupt:
                self.corrupt.append(picture.time_s)
            frame = min(self._frame_at(picture.time_s), last_frame)

            if shown is None:
                shown = self._first(picture, frame)
            elif self._is_missing(shown.picture.time_s, picture.time_s):
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

    def _last(self, shown: _Shown) -> Frames:
        """Return the frames of the last picture, and record what is missing behind it."""
        end_s = self.timeline.duration_s
        if end_s - shown.picture.time_s > max(PAUSE_S / 2, 3 / (self.picture_rate or math.inf)):
            end_s = shown.picture.time_s + self._usual_frames() / float(self.rate)
        self.end_s = max(self.end_s, end_s, *(gap.end_s for gap in self.missing))
        if self.timeline.duration_s - self.end_s > PAUSE_S:
            self.missing.append(
                Missing(start_s=self.end_s, end_s=self.timeline.duration_s, reason="damaged")
            )
        return _held(shown, max(self._frame_at(end_s), shown.frame + 1))

    def _trusted(self, pictures: Iterable[Picture]) -> Iterator[Picture]:
        """Yield the pictures that show their own time.

        Behind damage and joins, a decoder may continue from pictures of another time until it comes
        to a picture with which it can begin.
        """
        timeline = self.timeline
        last_s = resume_s = trusted_s = 0.0
        end_s = timeline.duration_s + PAUSE_S if timeline.lost_s is None else timeline.lost_s
        for picture in pictures:
            time_s = picture.time_s
            if time_s >= end_s:
                continue
            is_damaged = self._is_missing(last_s, time_s) and (
                timeline.is_damaged(last_s, time_s) or not timeline.is_gap(last_s, time_s)
            )
            join_s = timeline.join_between(last_s, time_s)
            if is_damaged:
                # The first picture behind a gap may be lost in a filter.
                resume_s = timeline.next_key_s(time_s - 1.5 / timeline.average_rate)
            elif join_s is not None:
                resume_s = timeline.next_key_s(join_s)
            last_s = time_s
            if time_s >= resume_s - _HAIR_S:
                trusted_s = time_s
                yield picture

        start_s = timeline.lost_s if math.isfinite(resume_s) else trusted_s
        if start_s is not None and start_s < timeline.duration_s:
            self.missing.append(
                Missing(start_s=start_s, end_s=timeline.duration_s, reason="damaged")
            )

    def _first(self, picture: Picture, frame: int) -> _Shown:
        """Return the first picture. It also stands for a moment before it."""
        if picture.time_s <= max(_LATE_S, min(2.5 / self.timeline.average_rate, PAUSE_S)):
            return _Shown(picture=picture, frame=0, starts=True)
        self.missing.append(Missing(start_s=0.0, end_s=float(frame / self.rate), reason="damaged"))
        return _Shown(picture=picture, frame=frame, starts=True)

    def _is_missing(self, before_s: float, after_s: float) -> bool:
        """Return whether pictures between these two are missing in the file or undecodable."""
        expected_s = 3 / self.picture_rate if self.picture_rate else 0.0
        if after_s - before_s <= max(PAUSE_S, expected_s):
            return False
        return (
            self.timeline.is_gap(before_s, after_s)
            or self.timeline.count_between(before_s, after_s) >= _MISSING_PICTURES
        )

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

    def _keeps_all(self) -> bool:
        return self.rate >= self.timeline.rate

    def _lag_s(self, shown: _Shown) -> float:
        return float(shown.frame / self.rate) - shown.picture.time_s

    def _distance(self, picture: Picture, shown: _Shown) -> float:
        return abs(picture.time_s - float(shown.frame / self.rate))


def corrupt_spans(times_s: Iterable[float]) -> list[tuple[float, float]]:
    """Return the stretches in which most pictures were decoded from damaged data, seconds.

    A single damaged place spoils one picture or a few, which stay.

    Args:
        times_s: Times of the corrupt pictures, ascending.
    """
    spans: list[list[float]] = []
    for time_s in times_s:
        if spans and time_s - spans[-1][1] <= _CORRUPT_APART_S:
            spans[-1][1] = time_s
        else:
            spans.append([time_s, time_s])
    return [(start, end) for start, end in spans if end - start >= _CORRUPT_LASTS_S]


def _held(shown: _Shown, until: int) -> Frames:
    return Frames(
        data=shown.picture.data,
        first=shown.frame,
        count=until - shown.frame,
        starts=shown.starts,
    )
