"""References of QuickTime and MP4 files to data in other files.

ffmpeg does not open the other file: it reads the same places of this one, whose pictures differ.
"""

import zlib

from surgrec.mp4_boxes import HEADER_BYTES, Read, box_header, boxes

_CONTAINERS = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"udta", b"edts", b"moof", b"traf", b"mvex")
    + (b"stbl", b"tref", b"wave", b"ilst", b"sinf", b"schi")
)
"""Boxes in which ffmpeg looks for boxes."""
_HIDDEN = (frozenset((b"hoov",)), frozenset((b"hoov", b"free")))
"""Boxes that ffmpeg takes for the movie box if they begin like one, in its first and second try."""
_DEEPEST = 11
"""Levels of boxes that ffmpeg reads."""
_MOST_BOXES = 100_000
_MOST_BYTES = 1 << 28
"""Most bytes of boxes that are inflated or held; the index of a day of video has about 50 MB."""
_IS_SELF = 1
"""Flag of a data reference: the data is in this file."""


def refers_to_other_files(read: Read, size: int) -> bool | None:
    """Return whether a track of a QuickTime or MP4 file has its pictures in another file.

    Boxes are found as ffmpeg finds them, whatever their kinds and sizes.
    Source: ISO/IEC 14496-12, section 8.7.2; QuickTime File Format, data reference atoms and
    compressed movie resources.

    Args:
        read: Reads the file, of any kind.
        size: Its size, bytes.

    Returns:
        None if no movie box is found within the limits.
    """
    try:
        for hidden in _HIDDEN:
            search = _Search(hidden)
            if search.finds(read, 0, size):
                return True
            if search.has_movie:
                return False
    except _LimitError:
        pass
    return None


class _LimitError(Exception):
    """A file with more boxes or larger ones than are searched."""


class _Search:
    """One pass over the boxes of a file.

    Args:
        hidden: Kinds of boxes that are movie boxes if they begin like one.
    """

    def __init__(self, hidden: frozenset[bytes]) -> None:
        self.has_movie = False
        self._hidden = hidden
        self._boxes_left = _MOST_BOXES
        self._bytes_left = _MOST_BYTES

    def finds(self, read: Read, offset: int, end: int, depth: int = 1) -> bool:
        """Return whether a box between two places refers to another file.

        Raises:
            _LimitError: There are too many or too large boxes to tell.
        """
        while offset + 8 <= end and depth <= _DEEPEST:
            self._boxes_left -= 1
            if self._boxes_left < 0:
                # A movie of many fragments has its references before them.
                if self.has_movie:
                    return False
                raise _LimitError

            # As in ffmpeg, a long box may have only a header, and a box ends with the enclosing
            # one.
            kind, start, size = box_header(read(HEADER_BYTES, offset), end - offset)
            size = end - offset if (start, size) == (16, 8) else min(size, end - offset)
            if size < start:
                return False
            if kind in self._hidden and read(8, offset + start)[4:] in (b"mvhd", b"cmov"):
                kind = b"moov"
            if self._is_external(read, kind, offset + start, offset + size, depth):
                return True
            self.has_movie |= kind == b"moov"
            offset += size
        return False

    def _is_external(self, read: Read, kind: bytes, start: int, end: int, depth: int) -> bool:
        if kind == b"dref":
            return _names_other_file(self._held(read, start, end))
        if kind == b"cmov":
            movie = self._inflated(self._held(read, start, end))
            return self.finds(lambda count, at: movie[at : at + count], 0, len(movie), depth + 1)
        return kind in _CONTAINERS and self.finds(read, start, end, depth + 1)

    def _held(self, read: Read, start: int, end: int) -> bytes:
        """Return the content of a box."""
        self._take(end - start)
        return read(end - start, start)

    def _inflated(self, content: bytes) -> bytes:
        """Return the movie box of a compressed one; nothing if ffmpeg cannot read it."""
        if content[4:12] != b"dcomzlib" or content[16:20] != b"cmvd":
            return b""
        stated = int.from_bytes(content[20:24], "big")
        inflate = zlib.decompressobj()
        try:
            movie = inflate.decompress(content[24:], min(stated, self._bytes_left) + 1)
        except zlib.error:
            return b""
        self._take(len(movie))
        return movie

    def _take(self, size: int) -> None:
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise _LimitError


def _names_other_file(references: bytes) -> bool:
    """Return whether one of the entries of a `dref` box names another file."""
    for kind, body in boxes(references[8:]):
        flags, location = int.from_bytes(body[1:4], "big"), body[4:].strip(b"\0")
        if not flags & _IS_SELF and location and kind in (b"url ", b"urn ", b"alis", b"rsrc"):
            return True
    return False
