"""Complete recordings that lie one behind the other in a file, as `cat` joins them.

Each container is a sequence of elements with a header that states the length. A walk from element
to element finds the header with which another recording begins, and never one inside of pictures or
attachments. Behind damage the walk goes on at the next such header.

Sources: ISO/IEC 14496-12, section 4.2 (MP4); RFC 8794 (Matroska); Adobe Flash Video File Format
10.1, annex E; Advanced Systems Format, section 2; AVI RIFF File Reference; SMPTE 377 (MXF).
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from surgrec.mp4_boxes import HEADER_BYTES, Read, box_header

MOST_RECORDINGS = 100
"""Most recordings of a file that are read one by one; ffmpeg is started a few times for each."""
_HEAD_BYTES = 272
_PART_BYTES = 1 << 20
_MOST_ELEMENTS = 10_000_000
"""Elements of a recording of a day, with pictures and sound."""
_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_KLV = b"\x06\x0e\x2b\x34"
_EBML = b"\x1a\x45\xdf\xa3"
_MATROSKA = frozenset(
    bytes.fromhex(name)
    for name in ("1a45dfa3", "18538067", "114d9b74", "1549a966", "1654ae6b", "1f43b675")
    + ("1c53bb6b", "1941a469", "1043a770", "1254c367")
) | {b"\xec", b"\xbf", b"\xe7", b"\xa3", b"\xa0", b"\xab", b"\xa7"}
"""Elements of the two upper levels, and those of a cluster."""
_RIFF_CHUNK = re.compile(rb"(?:\d\d|ix)(?:db|dc|wb|tx|pc|\d\d)|idx1|JUNK|avih|strh|strf|vprp")


class _Container(NamedTuple):
    """How to walk over a container."""

    beginning: "re.Pattern[bytes]"
    """The bytes with which a recording begins."""
    length: Callable[[bytes, int], int]
    """Returns the length of an element, given its first bytes and the bytes to the end of the
    file; 0 if the bytes are no element. Of an element of unknown length: that of its header."""


def find_beginnings(read: Read, size: int) -> list[int]:
    """Return where recordings begin in a file, ascending; at least [0].

    Args:
        read: Reads the file.
        size: Its size, bytes.
    """
    starts = [0]
    at, container = 0, _container_of(read(_HEAD_BYTES, 0))
    if container is None:
        return starts
    before = 0
    for _ in range(_MOST_ELEMENTS):
        if at >= size or len(starts) == MOST_RECORDINGS:
            break
        head = read(_HEAD_BYTES, at)
        begins = _container_of(head)
        if begins is not None:
            container = begins
            if at:
                starts.append(at)

        length = container.length(head, size - at)
        if 0 < length <= size - at:
            before, at = at, at + length
            continue
        # The length of this element, or of the one before, is wrong.
        found = _search(read, container.beginning, max(before, starts[-1]) + 1, size)
        if found is None:
            break
        before = at = found
    return starts


def _container_of(head: bytes) -> _Container | None:
    """Return the container of a recording that begins with these bytes."""
    return next((kind for kind in _CONTAINERS if kind.beginning.match(head)), None)


def _search(read: Read, beginning: "re.Pattern[bytes]", start: int, end: int) -> int | None:
    """Return the first place from `start` on with the beginning of a recording."""
    while start < end:
        data = read(_PART_BYTES, start)
        if found := beginning.search(data):
            return start + found.start()
        start += max(len(data) - _HEAD_BYTES, 1)
    return None


def _mp4_length(head: bytes, left: int) -> int:
    kind, start, size = box_header(head[:HEADER_BYTES], left)
    return size if size >= start and kind.isalnum() else 0


def _matroska_length(head: bytes, left: int) -> int:
    name = _vint_bytes(head)
    if head[:name] not in _MATROSKA:
        return 0
    width = _vint_bytes(head[name:])
    mask = (1 << 7 * width) - 1
    length = int.from_bytes(head[name : name + width], "big") & mask
    return name + width + (0 if length == mask else length)  # all bits: unknown


def _vint_bytes(data: bytes) -> int:
    """Return the length of a number whose first byte tells it."""
    return 9 - data[0].bit_length() if data and data[0] else 1


def _avi_length(head: bytes, left: int) -> int:
    name, length = head[:4], int.from_bytes(head[4:8], "little")
    if name in (b"RIFF", b"LIST"):
        # A recorder that did not finish left no length.
        return 12 if length in (0, 0xFFFFFFFF) else 8 + length + length % 2
    return 8 + length + length % 2 if _RIFF_CHUNK.match(name) else 0


def _asf_length(head: bytes, left: int) -> int:
    # All objects have names of one form.
    is_object = head[6:8] in (b"\xcf\x11", b"\xd1\x11", b"\x4e\x4b")
    return int.from_bytes(head[16:24], "little") if is_object else 0


def _flv_length(head: bytes, left: int) -> int:
    if head.startswith(b"FLV"):
        return int.from_bytes(head[5:9], "big") + 4
    is_tag = head[0] & 0x1F in (8, 9, 18) and head[8:11] == bytes(3)
    return 11 + int.from_bytes(head[1:4], "big") + 4 if is_tag else 0


def _mxf_length(head: bytes, left: int) -> int:
    if not head.startswith(_KLV) or len(head) <= 16:
        return 0
    first = head[16]
    if first < 0x80:
        return 17 + first
    width = first & 0x7F
    return 17 + width + int.from_bytes(head[17 : 17 + width], "big") if width <= 8 else 0


_CONTAINERS = (
    _Container(
        re.compile(
            rb"\0\0\0[\x10-\xff]ftyp[ -~]{4}.{4}([ -~]{4}|\0{4})*?"
            rb"(?:.{4}|\0{7}\x01)(moov|mdat|free|skip|wide|moof|sidx|uuid|pdin)",
            re.DOTALL,
        ),
        _mp4_length,
    ),
    _Container(
        re.compile(rb"\x1a\x45\xdf\xa3.{1,44}?\x42\x82.(?:matroska|webm)", re.DOTALL),
        _matroska_length,
    ),
    _Container(re.compile(rb"RIFF.{4}AVI LIST.{4}hdrl", re.DOTALL), _avi_length),
    _Container(re.compile(re.escape(_ASF) + rb".{6}\0\0", re.DOTALL), _asf_length),
    _Container(re.compile(rb"FLV\x01[\x01\x04\x05]\0\0\0\x09\0{4}"), _flv_length),
    _Container(
        re.compile(re.escape(_KLV) + rb"\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02[\x01-\x04]\0"),
        _mxf_length,
    ),
)
