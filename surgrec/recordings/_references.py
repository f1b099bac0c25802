"""References of QuickTime and MP4 files to data in other files.

ffmpeg does not open the other file: it reads the same places of this one, whose pictures differ.
"""

import os
from collections.abc import Iterator

_TRACK_PATH = (b"trak", b"mdia", b"minf", b"dinf", b"dref")
_MOVIE_BYTES = 1 << 28
"""Largest movie box that is searched; that of a day of video has about 50 MB."""
_MOST_BOXES = 10_000
_IS_SELF = 1
"""Flag of a data reference: the data is in this file."""


def refers_to_other_files(descriptor: int) -> bool:
    """Return whether a track of a QuickTime or MP4 file has its pictures in another file.

    Source: ISO/IEC 14496-12, section 8.7.2; QuickTime File Format, data reference atoms.

    Args:
        descriptor: The open file, of any kind.
    """
    offset, end = 0, os.fstat(descriptor).st_size
    for _ in range(_MOST_BOXES):
        if offset >= end:
            return False
        header = os.pread(descriptor, 16, offset)
        kind, start, size = _header(header, end - offset)
        if not 8 <= size <= end - offset or not kind.isascii():
            return False
        if kind == b"moov":
            movie = os.pread(descriptor, min(size - start, _MOVIE_BYTES), offset + start)
            return any(_is_external(entries) for entries in _find(movie, _TRACK_PATH))
        offset += size
    return False


def _find(data: bytes, path: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield the content of each box at a path of kinds."""
    for kind, body in _boxes(data):
        if kind == path[0]:
            if len(path) == 1:
                yield body
            else:
                yield from _find(body, path[1:])


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box."""
    offset = 0
    while offset + 8 <= len(data):
        kind, start, size = _header(data[offset : offset + 16], len(data) - offset)
        if size < 8:
            return
        yield kind, data[offset + start : offset + size]
        offset += size


def _header(data: bytes, left: int) -> tuple[bytes, int, int]:
    """Return the kind of a box, the size of its header, and its size; 0 if there is no box.

    Args:
        data: First 16 bytes of the box, or fewer.
        left: Bytes to the end of the enclosing box.
    """
    if len(data) < 8:
        return b"", 8, 0
    size, kind = int.from_bytes(data[:4], "big"), data[4:8]
    if size == 1 and len(data) == 16:
        return kind, 16, int.from_bytes(data[8:16], "big")
    return kind, 8, size or left


def _is_external(references: bytes) -> bool:
    """Return whether one of the entries of a `dref` box names another file."""
    for kind, body in _boxes(references[8:]):
        flags, location = int.from_bytes(body[1:4], "big"), body[4:].strip(b"\0")
        if not flags & _IS_SELF and location and kind in (b"url ", b"urn ", b"alis", b"rsrc"):
            return True
    return False
