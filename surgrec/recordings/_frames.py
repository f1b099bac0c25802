"""The frames on screen at given times of a recording, decoded in one pass."""

import functools
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from surgrec.recordings._facts import RecordingFacts
from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._pictures import Picture, PictureReader
from surgrec.recordings._recording import BadVideoError, Recording
from surgrec.recordings._timeline import PAUSE_S, Timeline

Pixels = UInt8[np.ndarray, "s s 3"]
"""The central square of a picture, RGB."""

_HAIR_S = 1e-3
"""Containers round the times of pictures; Matroska rounds to milliseconds."""
_MISSING_PICTURES = 3
"""Undecodable pictures after which the last one is no longer on screen."""
_CORRUPT_APART_S, _CORRUPT_LASTS_S = 0.5, 1.0
"""Corrupt pictures at least this long are damage. A few have small flaws and are used."""


def stored_size(facts: RecordingFacts, short_side_px: int) -> tuple[int, int]:
    """Return width and height of a recording as it is stored, pixels.

    Pixels are square, and both sides are even. A smaller picture is not enlarged.

    Args:
        facts: Properties of the recording.
        short_side_px: Longest shorter side.
    """
    scale = min(1.0, short_side_px / min(facts.width, facts.height))
    return max(2, round(facts.width * scale / 2) * 2), max(2, round(facts.height * scale / 2) * 2)


def read_frames(
    recording: Recording,
    facts: RecordingFacts,
    times_s: Float64[np.ndarray, " t"],
    *,
    short_side_px: int,
) -> Generator[Pixels | BadVideoError]:
    """Yield the central square on screen at each time, or the reason why there is none.

    The file is decoded once, in order. Only pictures that are still to be yielded are in memory.
    The last frame comes after the end of the file, so that no read error is missed.

    Args:
        recording: The recording.
        facts: Its properties.
        times_s: Seconds of the video, ascending.
        short_side_px: Larger pictures are scaled down to this shorter side.
    """
    size = stored_size(facts, short_side_px)
    yielded = 0
    failure = BadVideoError("undecodable", "the pictures of the file cannot be decoded")
    try:
        with PictureReader(recording, facts, size=size, pixels="rgb24") as reader:
            pictures = iter(reader)
            for frame in _frames(pictures, times_s.tolist(), facts.timeline, size):
                if yielded + 1 == len(times_s):
                    with suppress(FfmpegError):
                        deque(pictures, maxlen=0)
                yield frame
                yielded += 1
    except FfmpegError as error:
        failure = BadVideoError("undecodable", f"ffmpeg cannot decode the file: {error}")
    except BadVideoError as error:
        failure = error
    for _ in range(yielded, len(times_s)):
        yield failure


@dataclass(kw_only=True)
class _CorruptRun:
    """Corrupt pictures that follow each other."""

    start_s: float
    end_s: float

    @property
    def is_damage(self) -> bool:
        return self.end_s - self.start_s >= _CORRUPT_LASTS_S


@dataclass(kw_only=True)
class _Shown:
    """A picture on screen."""

    picture: Picture
    size: tuple[int, int]
    run: _CorruptRun | None

    @functools.cached_property
    def pixels(self) -> Pixels:
        width, height = self.size
        rows = np.frombuffer(self.picture.data, np.uint8).reshape(height, width, 3)
        side = min(width, height)
        top, left = (height - side) // 2, (width - side) // 2
        return np.ascontiguousarray(rows[top : top + side, left : left + side])

    def is_judged(self, now_s: float) -> bool:
        """Return whether it is known, at a later picture, if the picture is damaged."""
        run = self.run
        return run is None or run.is_damage or now_s - run.end_s > _CORRUPT_APART_S


def _frames(
    pictures: Iterable[Picture], times_s: list[float], timeline: Timeline, size: tuple[int, int]
) -> Iterator[Pixels | BadVideoError]:
    waiting: deque[tuple[float, _Shown]] = deque()
    shown: _Shown | None = None
    run: _CorruptRun | None = None
    asked = 0
    for picture in pictures:
        run = _run_with(run, picture)
        following = _Shown(picture=picture, size=size, run=run if picture.is_corrupt else None)
        while asked < len(times_s) and times_s[asked] + _HAIR_S < picture.time_s:
            # The first picture also stands for the moment before it.
            waiting.append((times_s[asked], shown or following))
            asked += 1
        shown = following

        while waiting and waiting[0][1].is_judged(picture.time_s):
            yield _frame(*waiting.popleft(), timeline)
        if asked == len(times_s) and not waiting:
            return

    if shown is not None:
        waiting.extend((time_s, shown) for time_s in times_s[asked:])
    for time_s, last in waiting:
        yield _frame(time_s, last, timeline)


def _run_with(run: _CorruptRun | None, picture: Picture) -> _CorruptRun | None:
    """Return the latest run of corrupt pictures, which this picture may continue or begin."""
    if not picture.is_corrupt:
        return run
    if run is None or picture.time_s - run.end_s > _CORRUPT_APART_S:
        return _CorruptRun(start_s=picture.time_s, end_s=picture.time_s)
    run.end_s = picture.time_s
    return run


def _frame(time_s: float, shown: _Shown, timeline: Timeline) -> Pixels | BadVideoError:
    """Return the frame at a time, unless the picture is not the one that should be on screen."""
    appeared_s = shown.picture.time_s
    first, last = min(time_s, appeared_s), max(time_s, appeared_s)
    is_missing = last - first > PAUSE_S and (
        timeline.is_gap(first, last) or timeline.count_between(first, last) >= _MISSING_PICTURES
    )
    if is_missing or (shown.run is not None and shown.run.is_damage):
        return BadVideoError("damaged", f"the picture at {time_s:.3f} s is damaged or missing")
    return shown.pixels
