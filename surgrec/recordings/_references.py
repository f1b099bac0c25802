"""References of QuickTime and MP4 files to data in other files.

ffmpeg does not open the other file: it reads the same places of this one, whose pictures differ.
"""

import os

from surgrec.recordings._boxes import HEADER_BYTES, box_header, boxes, find_boxes

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
        header = os.pread(descriptor, HEADER_BYTES, offset)
        kind, start, size = box_header(header, end - offset)
        if not 8 <= size <= end - offset or not kind.isascii():
            return False
        if kind == b"moov":
            movie = os.pread(descriptor, min(size - start, _MOVIE_BYTES), offset + start)
            return any(_is_external(entries) for entries in find_boxes(movie, _TRACK_PATH))
        offset += size
    return False


def _is_external(references: bytes) -> bool:
    """Return whether one of the entries of a `dref` box names another file."""
    for kind, body in boxes(references[8:]):
        flags, location = int.from_bytes(body[1:4], "big"), body[4:].strip(b"\0")
        if not flags & _IS_SELF and location and kind in (b"url ", b"urn ", b"alis", b"rsrc"):
            return True
    return False
