"""The frames on screen at given times of a recording, decoded in one pass."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress

import numpy as np
from jaxtyping import Float64, UInt8

from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._inspect import RecordingFacts
from surgrec.recordings._pictures import Picture, PictureReader
from surgrec.recordings._recording import BadVideoError, Recording
from surgrec.recordings._timeline import Timeline
from surgrec.recordings.view import Box

Pixels = UInt8[np.ndarray, "s s 3"]
"""The central square of a picture, RGB."""

_HAIR_S = 1e-3
"""Containers round the times of pictures; Matroska rounds to milliseconds."""


def stored_size(picture: RecordingFacts | Box, short_side_px: int) -> tuple[int, int]:
    """Return width and height of a recording, or of a part of its picture, as it is stored, pixels.

    Pixels are square, and both sides are even. A smaller picture is not enlarged.

    Args:
        picture: The recording or the part.
        short_side_px: Longest shorter side.
    """
    scale = min(1.0, short_side_px / min(picture.width, picture.height))
    return max(2, round(picture.width * scale / 2) * 2), max(
        2, round(picture.height * scale / 2) * 2
    )


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
                # Read to the end before the last frame, so that no read error is missed.
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


def _frames(
    pictures: Iterable[Picture], times_s: list[float], timeline: Timeline, size: tuple[int, int]
) -> Iterator[Pixels | BadVideoError]:
    shown: Picture | None = None
    asked = 0
    for picture in pictures:
        if not picture.is_trusted:
            continue
        while asked < len(times_s) and times_s[asked] + _HAIR_S < picture.time_s:
            yield _frame(times_s[asked], shown, picture, timeline, size)
            asked += 1
        if asked == len(times_s):
            return
        shown = picture

    for time_s in times_s[asked:]:
        yield _frame(time_s, shown, None, timeline, size)


def _frame(
    time_s: float,
    shown: Picture | None,
    following: Picture | None,
    timeline: Timeline,
    size: tuple[int, int],
) -> Pixels | BadVideoError:
    """Return the frame at a time, unless the picture that should be on screen is missing."""
    if shown is not None:
        until_s = timeline.duration_s if following is None else following.time_s
        is_missing = timeline.is_missing(shown.time_s, until_s)
        if not is_missing or time_s < shown.time_s + timeline.usual_s - _HAIR_S:
            return _square(shown, size)
    # The first picture also shows a moment before it.
    elif following is not None and timeline.is_start(following.time_s):
        return _square(following, size)
    return BadVideoError("damaged", f"the picture at {time_s:.3f} s is damaged or missing")


def _square(picture: Picture, size: tuple[int, int]) -> Pixels:
    width, height = size
    rows = np.frombuffer(picture.data, np.uint8).reshape(height, width, 3)
    side = min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    return np.ascontiguousarray(rows[top : top + side, left : left + side])
