"""The boxes of QuickTime and MP4 files. Source: ISO/IEC 14496-12, section 4.2."""

from collections.abc import Callable, Iterator

Read = Callable[[int, int], bytes]
"""Returns up to a number of bytes from a place."""

HEADER_BYTES = 16
"""Longest header of a box."""


def find_boxes(data: bytes, path: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield the content of each box at a path of kinds."""
    for kind, body in boxes(data):
        if kind == path[0]:
            if len(path) == 1:
                yield body
            else:
                yield from find_boxes(body, path[1:])


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and content of each box."""
    offset = 0
    while offset + 8 <= len(data):
        kind, start, size = box_header(data[offset : offset + HEADER_BYTES], len(data) - offset)
        if size < 8:
            return
        yield kind, data[offset + start : offset + size]
        offset += size


def box_header(data: bytes, left: int) -> tuple[bytes, int, int]:
    """Return the kind of a box, the size of its header, and its size as stated; 0 for no box.

    A size that is smaller than the header, or below 0, is a fault of the file.

    Args:
        data: First 16 bytes of the box, or fewer.
        left: Bytes to the end of the enclosing box.
    """
    if len(data) < 8:
        return b"", 8, 0
    size, kind = int.from_bytes(data[:4], "big"), data[4:8]
    if size == 1 and len(data) == HEADER_BYTES:
        return kind, 16, int.from_bytes(data[8:16], "big", signed=True)
    return kind, 8, size or left
