"""Damaged boxes between the fragments of an MP4 file, at which ffmpeg would stop.

The fragments behind the damage are whole. ffmpeg finds them if a sound header replaces the one at
the damage: of a `free` box, or of media data that end where the next fragment begins.
"""

from typing import NamedTuple

from surgrec.mp4_boxes import HEADER_BYTES, Read, box_header, find_boxes

_MARK = b"moof\x00\x00\x00\x10mfhd"
"""How a fragment begins, behind its size. Source: ISO/IEC 14496-12, sections 8.8.4 and 8.8.5."""
_PART_BYTES = 1 << 20
_MOVIE_BYTES = 1 << 28
_MOST_BOXES = 1_000_000
"""Boxes of a recording of 5 hours with a fragment per picture."""
MOST_HEADERS = 100
"""Most damaged places that are mended; ffmpeg opens the file twice for each."""


class Header(NamedTuple):
    """The header of a box that replaces bytes of the file."""

    position: int
    data: bytes
    """8 bytes."""


def mended_headers(read: Read, end: int) -> tuple[Header, ...]:
    """Return the headers with which ffmpeg reads over damage, ascending; none for sound files.

    Args:
        read: Reads the file, of any kind.
        end: Its size, bytes.
    """
    headers: list[Header] = []
    at, media, is_fragmented = 0, None, False
    for _ in range(_MOST_BOXES):
        if at >= end:
            break
        kind, start, size = box_header(read(HEADER_BYTES, at), end - at)
        if _is_sound(read, at, kind, size, end):
            if kind == b"moov":
                movie = read(min(size - start, _MOVIE_BYTES), at + start)
                is_fragmented = any(True for _ in find_boxes(movie, (b"mvex",)))
            media = at if kind == b"mdat" else None
            at += size
            continue

        # Behind removed bytes, the stated length of media data may reach over the next fragment.
        if not is_fragmented or len(headers) == MOST_HEADERS:
            break
        fragment = _next_fragment(read, 8 + (at if media is None else media), end)
        if fragment is None:
            break
        place = at if media is None or fragment > at else media
        length, is_media = fragment - place, place == media or kind == b"mdat"
        if not 8 <= length < 1 << 32:
            break
        name = b"mdat" if is_media else b"free"
        headers.append(Header(position=place, data=length.to_bytes(4, "big") + name))
        at, media = fragment, None
    return tuple(headers)


def _is_sound(read: Read, at: int, kind: bytes, size: int, end: int) -> bool:
    """Return whether a box lies within the file. A fragment must consist of whole boxes."""
    if not (8 <= size <= end - at and kind.isalnum()):
        return False
    return kind != b"moof" or _is_whole(read(min(size, _MOVIE_BYTES), at))


def _is_whole(box: bytes) -> bool:
    """Return whether smaller boxes fill a box, and the tracks within it."""
    _, at, _ = box_header(box[:HEADER_BYTES], len(box))
    while at < len(box):
        kind, _, size = box_header(box[at : at + HEADER_BYTES], len(box) - at)
        if not (8 <= size <= len(box) - at and kind.isalnum()):
            return False
        if kind == b"traf" and not _is_whole(box[at : at + size]):
            return False
        at += size
    return True


def _next_fragment(read: Read, start: int, end: int) -> int | None:
    """Return the position of the first fragment that begins at a position or behind it."""
    while start < end:
        data = read(_PART_BYTES, start)
        place = data.find(_MARK, 4)
        if place >= 0:
            return start + place - 4
        start += max(len(data) - len(_MARK) - 4, 1)
    return None
