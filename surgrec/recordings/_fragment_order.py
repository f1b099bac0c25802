"""Fragments of an MP4 file that lie in another order than that of their times.

ffmpeg reads fragments as they lie in the file, and leaves out those that are too late. A fragment
does not depend on its place, so it is read where its time is.

Source: ISO/IEC 14496-12, sections 8.8.3 (trex), 8.8.7 (tfhd), 8.8.8 (trun) and 8.8.12 (tfdt).
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from surgrec.mp4_boxes import HEADER_BYTES, Read, box_header, find_boxes

_MOST_BOXES = 1_000_000
_MOST_SPANS = 200
"""Most stretches of a file that are read one behind the other; ffmpeg opens it for each."""
_MOST_BYTES = 1 << 28
_OVERLAP = 0.1
"""Share of a fragment's length by which the next one may begin too early."""


class Order(NamedTuple):
    """How to read the fragments of a file in the order of their times."""

    spans: tuple[tuple[int, int], ...] = ()
    """Stretches of the file, first byte and the byte behind the last one. Empty: as they lie."""
    note: str = ""
    """A sentence for the private report if they lie in another order."""
    is_lossy: bool = False
    """Whether they lie in another order, but cannot be sorted."""


@dataclass(kw_only=True)
class _Fragment:
    start: int
    end: int
    movies: list[int] = field(default_factory=list)
    """Places of its `moof` boxes."""
    times: dict[int, int] = field(default_factory=dict)
    """First time per track, in the unit of the track."""


def find_order(read: Read, end: int, mended: Mapping[int, bytes]) -> Order:
    """Return how to read the fragments of a file in the order of their times.

    Args:
        read: Reads the file, of any kind.
        end: Its size, bytes.
        mended: Headers that replace damaged ones, by their place.
    """
    movie, fragments, rest = _fragments(read, end, mended)
    if not _is_out_of_order(fragments):
        return Order()

    # Sort the fragments by their earliest time in seconds.
    scales = _scales(movie)
    first_s = [
        min((time / scales.get(track, 1) for track, time in fragment.times.items()), default=0.0)
        for fragment in fragments
    ]

    ordered = [fragments[n] for n in sorted(range(len(fragments)), key=first_s.__getitem__)]
    moved = sum(before is not after for before, after in zip(fragments, ordered, strict=True))

    spans = _merged(
        [(0, fragments[0].start), *((each.start, each.end) for each in ordered), (rest, end)]
    )

    if _overlaps(read, ordered, movie) or len(spans) > _MOST_SPANS:
        return Order(
            note="the fragments of the file do not lie in the order of their times, and cannot be "
            "sorted: parts of the video may be missing or at wrong times",
            is_lossy=True,
        )

    return Order(
        spans=spans,
        note=f"{moved} of {len(fragments)} fragments of the file do not lie in the order of their "
        "times: they are read in that order",
    )


def _fragments(
    read: Read, end: int, mended: Mapping[int, bytes]
) -> tuple[bytes, list[_Fragment], int]:
    """Return the movie box, the fragments as they lie, and the place behind the last one.

    A fragment begins behind the media data of the one before, with the boxes about it.
    """
    movie, fragments = b"", list[_Fragment]()
    at, begins, rest = 0, 0, 0

    for _ in range(_MOST_BOXES):
        header = mended.get(at) or read(HEADER_BYTES, at)
        kind, start, size = box_header(header, end - at)
        if not (start <= size <= end - at and kind.isalnum()):
            break

        if kind == b"moov" and not movie:
            movie = read(min(size - start, _MOST_BYTES), at + start)
            if not any(True for _ in find_boxes(movie, (b"mvex",))):
                break
        elif kind == b"moof":
            if not fragments or fragments[-1].end:
                fragments.append(_Fragment(start=begins or at, end=0))
            fragments[-1].movies.append(at)
            for track, time, _ in _tracks(read(min(size, _MOST_BYTES), at)):
                fragments[-1].times.setdefault(track, time)
        elif kind == b"mdat" and fragments:
            fragments[-1].end = rest = begins = at + size

        at += size

    return movie, [fragment for fragment in fragments if fragment.end], rest


def _tracks(moof: bytes) -> list[tuple[int, int, bytes]]:
    """Return track, first time and boxes of each track of a fragment that has a time."""
    found = []
    for traf in find_boxes(moof, (b"moof", b"traf")):
        head = next(find_boxes(traf, (b"tfhd",)), b"")
        time = next(find_boxes(traf, (b"tfdt",)), b"")
        if len(head) >= 8 and len(time) >= 8:
            track = int.from_bytes(head[4:8], "big")
            found.append((track, int.from_bytes(time[4 : 12 if time[0] else 8], "big"), traf))
    return found


def _is_out_of_order(fragments: Sequence[_Fragment]) -> bool:
    latest: dict[int, int] = {}
    for fragment in fragments:
        for track, time in fragment.times.items():
            if time < latest.get(track, 0):
                return True
            latest[track] = time
    return False


def _scales(movie: bytes) -> dict[int, int]:
    """Return the units per second of each track."""
    scales = {}
    for trak in find_boxes(movie, (b"trak",)):
        head = next(find_boxes(trak, (b"tkhd",)), b"")
        media = next(find_boxes(trak, (b"mdia", b"mdhd")), b"")
        if len(head) >= 24 and len(media) >= 24:
            number = head[20:24] if head[0] else head[12:16]
            scale = media[20:24] if media[0] else media[12:16]
            scales[int.from_bytes(number, "big")] = max(1, int.from_bytes(scale, "big"))
    return scales


def _merged(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the spans that are not empty, with adjacent ones joined."""
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and merged[-1][1] == start:
            start = merged.pop()[0]
        if start < end:
            merged.append((start, end))
    return tuple(merged)


def _overlaps(read: Read, ordered: Sequence[_Fragment], movie: bytes) -> bool:
    """Return whether a fragment begins before the one before it ends: another recording."""
    usual = {
        int.from_bytes(each[4:8], "big"): int.from_bytes(each[12:16], "big")
        for each in find_boxes(movie, (b"mvex", b"trex"))
    }

    lengths: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for fragment in ordered:
        for at in fragment.movies:
            size = box_header(read(HEADER_BYTES, at), _MOST_BYTES)[2]
            for track, time, traf in _tracks(read(min(size, _MOST_BYTES), at)):
                lengths[track].append((time, _length(traf, usual.get(track, 0))))

    return any(
        after < time + (1 - _OVERLAP) * length or after == time
        for parts in lengths.values()
        for (time, length), (after, _) in itertools.pairwise(parts)
    )


def _length(traf: bytes, usual: int) -> int:
    """Return the length of a fragment of a track, in the unit of the track."""
    head = next(find_boxes(traf, (b"tfhd",)), b"")
    flags = int.from_bytes(head[1:4], "big")
    if flags & 0x8:
        at = 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
        usual = int.from_bytes(head[at : at + 4], "big")

    total = 0
    for run in find_boxes(traf, (b"trun",)):
        flags, count = int.from_bytes(run[1:4], "big"), int.from_bytes(run[4:8], "big")
        if not flags & 0x100:
            total += count * usual
            continue
        step = 4 * (flags >> 8 & 0xF).bit_count()
        at = 8 + 4 * bool(flags & 0x1) + 4 * bool(flags & 0x4)
        total += sum(
            int.from_bytes(run[place : place + 4], "big") for place in range(at, len(run), step)
        )
    return total
