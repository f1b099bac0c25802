"""A Matroska stream of pictures, each with its time. Pure: pictures in, bytes out.

Source: RFC 9559. Only the elements that ffmpeg needs are written, and nothing about the files.
"""

import struct

_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7
_MICROSECOND_NS = 1000
_FOURCC = {"jpeg": b"MJPG", "png": b"MPNG", "bmp": b"BMP "}
"""Codes of formats. ffmpeg's demuxer does not know that of BMP: its decoder must be named."""


def header(format: str, width: int, height: int) -> bytes:
    """Return the beginning of a stream.

    Args:
        format: `jpeg`, `png` or `bmp`.
        width: Width of the pictures, pixels.
        height: Height of the pictures, pixels.
    """
    size = struct.pack("<IiiHH", 40, width, height, 1, 24)
    codec = size + _FOURCC[format] + bytes(20)

    ebml = (
        *(_number("4286", 1), _number("42f7", 1), _number("42f2", 4), _number("42f3", 8)),
        *(_element("4282", b"matroska"), _number("4287", 4), _number("4285", 2)),
    )

    video = _element("e0", _number("b0", width), _number("ba", height))
    track = (
        *(_number("d7", 1), _number("73c5", 1), _number("83", 1)),
        *(_element("86", b"V_MS/VFW/FOURCC"), _element("63a2", codec), video),
    )

    info = _element("1549a966", _number("2ad7b1", _MICROSECOND_NS))
    tracks = _element("1654ae6b", _element("ae", *track))

    return _element("1a45dfa3", *ebml) + bytes.fromhex("18538067") + _UNKNOWN_SIZE + info + tracks


def picture(time_us: int, data: bytes) -> bytes:
    """Return the part of a stream that holds one picture.

    Args:
        time_us: When it appears, microseconds from 0.
        data: The picture, as its file holds it.
    """
    time = _number("e7", time_us)
    block = b"\x81" + struct.pack(">hB", 0, 0x80)  # track 1, at the time of the cluster, a keyframe
    lengths = bytes.fromhex("a3") + _size(len(block) + len(data))
    cluster = bytes.fromhex("1f43b675") + _size(len(time) + len(lengths) + len(block) + len(data))
    return b"".join((cluster, time, lengths, block, data))


def _element(name: str, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return bytes.fromhex(name) + _size(len(data)) + data


def _number(name: str, value: int) -> bytes:
    return _element(name, value.to_bytes(8, "big"))


def _size(value: int) -> bytes:
    """Return a size in 8 bytes, the first bit of which tells their number."""
    return (value | 1 << 56).to_bytes(8, "big")
