"""JPEG, PNG and BMP files: size, orientation, and whether they are whole. Nothing is decoded."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Format = Literal["jpeg", "png", "bmp"]
"""Names that `Still.format` may have."""
_PNG = b"\x89PNG\r\n\x1a\n"
_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
"""Tag of TIFF and EXIF. Source: EXIF 2.32, section 4.6.4."""
_BITMAP_HEADER = 54
"""Bytes of the headers of a BMP file in its usual form."""
_CUT = "the end of the file is missing"


@dataclass(frozen=True, kw_only=True)
class Still:
    """Properties of a picture, from its header."""

    format: Format
    width: int
    height: int
    """Size as stored, pixels."""
    orientation: int = 1
    """Number of EXIF from 1 (upright) to 8."""


class BadStillError(Exception):
    """A picture that cannot be used. The text is the reason, without the name of the file."""


def read_still(data: bytes) -> Still:
    """Return the properties of a picture, by its content.

    Args:
        data: The whole file.

    Raises:
        BadStillError: It is not a JPEG, PNG or BMP file, or not a whole one.
    """
    if not data:
        raise BadStillError("the file is empty")

    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _jpeg(data)
        if data.startswith(_PNG):
            return _png(data)
        if data.startswith(b"BM"):
            return _bmp(data)
    except (struct.error, IndexError):
        raise BadStillError(_CUT) from None
    raise BadStillError("the content is not that of a jpg, png or bmp picture")


def _jpeg(data: bytes) -> Still:
    """Read the header in front of the first scan."""
    size, orientation, at = None, 1, 0
    for marker, segment, end in _segments(data):
        at = end
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            size = struct.unpack_from(">HH", segment, 1)
        elif marker == 0xE1 and segment.startswith(_EXIF):
            orientation = _orientation(segment[len(_EXIF) :])

    if size is None:
        raise BadStillError("its header does not state a size")
    if data.find(b"\xff\xd9", at) < 0:
        raise BadStillError(_CUT)
    return Still(format="jpeg", width=size[1], height=size[0], orientation=orientation)


def _segments(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, data and end of each segment up to the header of the first scan.

    Source: ITU-T T.81, annex B.
    """
    at, marker = 2, 0
    while marker != 0xDA:
        if data[at] != 0xFF:
            raise BadStillError("its header is damaged")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # markers without data
            at += 2
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            yield marker, data[at + 4 : at + 2 + length], at + 2 + length
            at += 2 + length


def _png(data: bytes) -> Still:
    """Read all chunks. Source: PNG specification, section 5."""
    at, size, orientation = len(_PNG), None, 1
    while True:
        length, kind = struct.unpack_from(">I4s", data, at)
        chunk = memoryview(data)[at + 4 : at + 8 + length]
        (stated,) = struct.unpack_from(">I", data, at + 8 + length)

        if zlib.crc32(chunk) != stated:
            raise BadStillError("its data is damaged (a checksum differs)")

        if kind == b"IHDR":
            size = struct.unpack_from(">II", chunk, 4)
        elif kind == b"eXIf":
            orientation = _orientation(bytes(chunk[4:]))
        elif kind == b"IEND":
            break

        at += 12 + length

    if size is None:
        raise BadStillError("its header does not state a size")
    return Still(format="png", width=size[0], height=size[1], orientation=orientation)


def _bmp(data: bytes) -> Still:
    """Read both headers. A negative height means rows from top to bottom."""
    (offset,) = struct.unpack_from("<I", data, 10)
    width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    row_bytes = (depth * width + 31) // 32 * 4
    is_plain = compression in (0, 3)
    if len(data) < _BITMAP_HEADER or (is_plain and len(data) < offset + row_bytes * abs(height)):
        raise BadStillError(_CUT)
    return Still(format="bmp", width=width, height=abs(height))


def _orientation(exif: bytes) -> int:
    """Return the orientation that EXIF data states; 1 if it states none that is valid."""
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return 1

    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", exif, entry)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
