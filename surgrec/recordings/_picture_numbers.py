"""Numbers of the pictures of raw H.264 and HEVC streams, which jump where bytes were removed.

Sources: ITU-T H.264, sections 7.3.2.1.1 and 7.4.3 (frame_num); ITU-T H.265, sections 7.3.2.2,
7.3.2.3, 7.3.6.1 and 8.3.1 (picture order count).
"""

import itertools
import re
from collections.abc import Iterator

from surgrec.mp4_boxes import Read

_CHUNK_BYTES, _HEADER_BYTES = 1 << 20, 256
_START_CODE = re.compile(rb"\x00\x00\x01")
_HIGH_PROFILES = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128))


def broken_numbers(read: Read, size: int, codec: str) -> list[int]:
    """Return the pictures, counted as they lie in a file, before which numbers are missing.

    Args:
        read: Reads the file.
        size: Its size, bytes.
        codec: `h264` or `hevc`.
    """
    units = _units(read, size)
    return _h264_breaks(units) if codec == "h264" else _hevc_breaks(units)


class _Bits:
    """Reads numbers from the bytes of a unit. Zeros follow behind its end."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\x00\x00\x03", b"\x00\x00")
        self._number, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next bits as a number."""
        self._left -= count
        if self._left < 0:
            return 0
        return self._number >> self._left & ((1 << count) - 1)

    def take_golomb(self) -> int:
        """Return the next number in Exp-Golomb code."""
        zeros = 0
        while self._left > 0 and not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)


def _units(read: Read, size: int) -> Iterator[bytes]:
    """Yield the first bytes of each unit behind its start code."""
    for start in range(0, size, _CHUNK_BYTES):
        data = read(_CHUNK_BYTES + _HEADER_BYTES, start)
        for found in _START_CODE.finditer(data):
            if found.start() < _CHUNK_BYTES:
                yield data[found.end() : found.end() + _HEADER_BYTES]


def _h264_breaks(units: Iterator[bytes]) -> list[int]:
    """Return where `frame_num` is neither that of the reference picture before nor the next."""
    breaks, picture, last = list[int](), -1, None
    width, has_planes = 0, False
    for unit in units:
        kind, is_reference = unit[0] & 0x1F if unit else 0, bool(unit and unit[0] & 0x60)
        if kind == 7 and not width:  # later ones may be torn
            width, has_planes = _h264_sequence(_Bits(unit[1:]))
        if kind not in (1, 5) or not width:
            continue
        bits = _Bits(unit[1:])
        if bits.take_golomb():  # not the first slice of a picture
            continue
        picture += 1
        bits.take_golomb()
        bits.take_golomb()
        bits.take(2 * has_planes)
        number = bits.take(width)
        if kind != 5 and last is not None and (number - last) % (1 << width) > 1:
            breaks.append(picture)
        if is_reference or kind == 5 or (breaks and breaks[-1] == picture):
            last = number
    return breaks


def _h264_sequence(bits: _Bits) -> tuple[int, bool]:
    """Return the bits of `frame_num`, 0 if unknown, and whether slices name a color plane."""
    profile = bits.take(24) >> 16
    bits.take_golomb()
    has_planes = False
    if profile in _HIGH_PROFILES:
        if bits.take_golomb() == 3:
            has_planes = bool(bits.take(1))
        bits.take_golomb()
        bits.take_golomb()
        if bits.take(2) & 1:  # scaling lists
            return 0, False
    return bits.take_golomb() + 4, has_planes


def _hevc_breaks(units: Iterator[bytes]) -> list[int]:
    """Return where the order counts of a sequence have a hole, or repeat."""
    breaks, picture = list[int](), -1
    # Later parameters may be torn.
    has_parameters = False
    width, has_planes, extra, has_output = 0, False, 0, False
    sequence: list[tuple[int, int]] = []
    base = 0
    for unit in units:
        kind = unit[0] >> 1 & 0x3F if len(unit) > 2 else 63
        bits = _Bits(unit[2:])
        if kind == 33 and not width:
            width, has_planes = _hevc_sequence(bits)
        elif kind == 34 and not has_parameters:
            has_parameters = True
            bits.take_golomb()
            bits.take_golomb()
            bits.take(1)
            has_output, extra = bool(bits.take(1)), bits.take(3)
        if kind > 21 or 9 < kind < 16 or not width or not bits.take(1):
            continue

        picture += 1
        if kind in (19, 20):
            breaks += _holes(sequence)
            sequence, base = [(0, picture)], 0
            continue
        bits.take(kind >= 16)
        bits.take_golomb()
        bits.take(extra)
        bits.take_golomb()
        bits.take(has_output + 2 * has_planes)
        half = 1 << (width - 1)
        count = base + (bits.take(width) - base + half) % (2 * half) - half
        sequence.append((count, picture))
        # Pictures of the lowest layer on which others depend carry the count on.
        if unit[1] & 7 == 1 and not (kind < 16 and kind % 2 == 0) and not 6 <= kind <= 9:
            base = count
    return sorted(breaks + _holes(sequence))


def _holes(sequence: list[tuple[int, int]]) -> list[int]:
    """Return the pictures of a sequence beside a hole in the counts, or with a repeated one."""
    ordered = sorted(sequence)
    steps = [after - before for (before, _), (after, _) in itertools.pairwise(ordered)]
    if not steps:
        return []
    usual = sorted(steps)[len(steps) // 2]
    return [
        max(before, after)
        for step, ((_, before), (_, after)) in zip(steps, itertools.pairwise(ordered), strict=True)
        if step == 0 or step > usual
    ]


def _hevc_sequence(bits: _Bits) -> tuple[int, bool]:
    """Return the bits of the order count, and whether slices name a color plane."""
    layers = bits.take(8) >> 1 & 7
    bits.take(96)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    bits.take(2 * (8 - layers) if layers else 0)

    for has_profile, has_level in present:
        bits.take(88 * has_profile + 8 * has_level)

    # Identifier, color format, size and conformance window.
    bits.take_golomb()
    has_planes = bits.take_golomb() == 3 and bool(bits.take(1))
    bits.take_golomb()
    bits.take_golomb()

    if bits.take(1):
        for _ in range(4):
            bits.take_golomb()

    # Bit depths.
    bits.take_golomb()
    bits.take_golomb()

    return bits.take_golomb() + 4, has_planes
