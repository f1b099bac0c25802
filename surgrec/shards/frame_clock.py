"""The times of the frames of a clip, read from the tables of its MP4. Nothing is decoded."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from surgrec.mp4_boxes import HEADER_BYTES, box_header

_CONTAINERS = (b"moov", b"trak", b"edts", b"mdia", b"minf", b"stbl")
"""Boxes that hold boxes, on the way to the tables of a track."""
_LISTED_ONCE = (b"trak", b"mdhd", b"stts")
_MOST_DEEP = len(_CONTAINERS)
_UNEVEN = (b"ctts", b"mvex")
"""Boxes of files whose frames are shown in another order than stored, or stored in fragments."""
_NORMAL_SPEED = 0x10000


@dataclass(frozen=True)
class FrameClock:
    """Evenly spaced frames: frame `i` is on screen from `i * ticks / timescale` seconds on."""

    timescale: int
    """Ticks per second, the time base of the track."""
    ticks: int
    """Ticks per frame."""

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.timescale / self.ticks

    def starts(self, num_frames: int) -> Float64[np.ndarray, " t"]:
        """Return the time at which each frame comes on screen, in seconds."""
        return np.arange(num_frames) * self.ticks / self.timescale


def read_frame_clock(mp4: bytes, num_frames: int) -> FrameClock | None:
    """Return the clock of a clip; None if its file does not say that its frames are evenly spaced.

    Args:
        mp4: The file. Any bytes may be given.
        num_frames: Its number of frames.
    """
    try:
        boxes = list(_boxes(mp4, 0, len(mp4)))
    except struct.error:
        return None
    names = [name for name, _ in boxes]
    if any(names.count(name) != 1 for name in _LISTED_ONCE) or set(names) & {*_UNEVEN}:
        return None

    contents = dict(boxes)
    timescale = _timescale(contents[b"mdhd"])
    ticks = _ticks(contents[b"stts"], num_frames)
    starts_at_once = all(_starts_at_once(content) for name, content in boxes if name == b"elst")
    return FrameClock(timescale, ticks) if timescale and ticks and starts_at_once else None


def _boxes(data: bytes, start: int, end: int, depth: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """Yield the name and the content of the boxes of a file, those in containers included."""
    if depth > _MOST_DEEP:
        raise struct.error("more containers in each other than a track has")
    while start < end:
        if not any(data[start : start + 4]):
            raise struct.error("a box without a size, which no stored clip has")
        name, header, size = box_header(data[start : start + HEADER_BYTES], end - start)
        if not header <= size <= end - start:
            raise struct.error("a box ends after its container")

        if name in _CONTAINERS:
            yield name, b""
            yield from _boxes(data, start + header, start + size, depth + 1)
        elif name != b"mdat":
            yield name, data[start + header : start + size]
        start += size


def _timescale(mdhd: bytes) -> int:
    """Return the ticks per second of a track; 0 if the box is too short."""
    # Version 1 has times of 8 bytes before it.
    place = 20 if mdhd[:1] == b"\1" else 12
    return int.from_bytes(mdhd[place : place + 4], "big") if len(mdhd) >= place + 4 else 0


def _ticks(stts: bytes, num_frames: int) -> int:
    """Return the ticks per frame if all frames have the same; else 0."""
    if len(stts) != 16:  # version and flags, the number of entries, and one entry
        return 0
    entries, count, ticks = struct.unpack(">III", stts[4:])
    return ticks if (entries, count) == (1, num_frames) else 0


def _starts_at_once(elst: bytes) -> bool:
    """Return whether an edit list shows its track once, from its first frame on."""
    layout = ">IqqI" if elst[:1] == b"\1" else ">IIiI"
    if len(elst) != 4 + struct.calcsize(layout):
        return False
    entries, _, media_time, speed = struct.unpack(layout, elst[4:])
    return (entries, media_time, speed) == (1, 0, _NORMAL_SPEED)
