"""Files recognized as videos by their content, before the whole of it is read."""

import re
from collections.abc import Callable
from pathlib import Path

from surgrec.recordings._ffmpeg import FfmpegError, run_ffprobe
from surgrec.recordings._recording import Recording

Read = Callable[[int], bytes]
HEAD_BYTES = 4096
"""Bytes of the beginning of a file that `begins_like_video` needs."""
_SEARCHED_BYTES = 1 << 16
_PICTURE_BYTES = 4 << 20
"""Most bytes of one JPEG picture of a video."""

_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"pnot")
_PICTURE_BRANDS = (
    *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf", b"avif"),
    *(b"avis", b"jp2 ", b"jpx ", b"jpm ", b"crx "),
)
_SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ")
_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # Matroska, WebM
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11",  # WTV
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"IMKH",  # MPEG program stream with the header of a recorder
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"FLV\x01",
    b"nut/multimedia container",
    b"\x00\x00\x00\x00\x01\xbc",  # GXF
    b"\x1f\x07\x00",  # DV
    b"\x00\x00\x00\x01\x67",  # H.264
    b"\x00\x00\x00\x01\x09",
    b"\x00\x00\x00\x01\x40\x01",  # HEVC
    b"\x12\x00\x0a",  # AV1
    b"DKIF",  # IVF
    b"YUV4MPEG2 ",
    b".RMF",
    b"DHAV",
)
_OGG_VIDEO = (b"\x80theora", b"\x01video", b"OVP80")
_OTHER_MAGIC = (
    *(b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"8BPS"),
    *(b"OggS", b"ID3", b"fLaC", b"MThd", b"RIFF", b"FORM", b"#!AMR"),
    *(b"%PDF", b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ"),
    *(b"\x28\xb5\x2f\xfd", b"PAR1", b"\x89HDF", b"SQLite format 3", b"\x93NUMPY", b"\x7fELF"),
    *(b"MZ", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", b"ARROW1"),
)
"""First bytes of pictures, sounds, documents, archives, tables and programs."""
_DICOM_VIDEO = re.compile(rb"1\.2\.840\.10008\.1\.2\.4\.10[0-8]")
"""Transfer syntaxes of MPEG-2, H.264 and HEVC. Source: DICOM PS3.5, annex A.4."""
_JPEG, _NEXT_JPEG = b"\xff\xd8\xff", b"\xff\xd9\xff\xd8\xff"
_START_CODE = re.compile(rb"\x00\x00\x01(?:[\xba\xb3\xb0\x20\x07\x27\x47\x67]|\x40\x01)")
"""Start codes of MPEG program streams, MPEG-1, 2 and 4, H.264 and HEVC."""
_MXF_KEY = b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01"
_TS_PACKETS = (188, 192, 204)


def begins_like_video(head: bytes) -> bool:
    """Return whether a file begins like one in a container of videos, or like a raw video.

    Args:
        head: The first HEAD_BYTES of the file.
    """
    is_mp4 = head[4:8] in _MP4_BOXES and not _has_brand(head, _PICTURE_BRANDS + _SOUND_BRANDS)
    is_avi = head[:4] == b"RIFF" and head[8:12] in (b"AVI ", b"AVIX")
    is_ogg = head[:4] == b"OggS" and any(words in head for words in _OGG_VIDEO)
    is_ts = any(
        _has_sync(head, start, size, packets=4) for start, size in ((0, 188), (4, 192), (0, 204))
    )
    return is_mp4 or is_avi or is_ogg or is_ts or head.startswith(_MAGIC)


def begins_like_other(head: bytes) -> bool:
    """Return whether a file begins like a picture, a sound, a document, an archive or a table."""
    is_dicom = head[128:132] == b"DICM"
    return (
        is_dicom
        or head.startswith(_OTHER_MAGIC)
        or _has_brand(head, _PICTURE_BRANDS + _SOUND_BRANDS)
    )


def is_dicom_video(head: bytes) -> bool:
    """Return whether a file begins like a DICOM object that contains a video."""
    return head[128:132] == b"DICM" and _DICOM_VIDEO.search(head) is not None


def may_be_video(read: Read) -> bool:
    """Return whether a file has marks of a video anywhere near its beginning.

    A recorder may write a header of its own, or begin within a packet. Other data may have such
    marks by chance: `has_moving_picture` decides.

    Args:
        read: Returns up to so many bytes of the beginning of the file.
    """
    data = read(_SEARCHED_BYTES)
    if _has_brand(data, _PICTURE_BRANDS):
        return False

    if data.startswith(_JPEG):
        return _NEXT_JPEG in read(_PICTURE_BYTES)

    return (
        _has_brand(data, _SOUND_BRANDS)
        or _MXF_KEY in data
        or _START_CODE.search(data) is not None
        or any(
            _has_sync(data, start, size, packets=8)
            for size in _TS_PACKETS
            for start in range(size)
            if data[start : start + 1] == b"\x47"
        )
    )


def has_moving_picture(path: Path) -> bool:
    """Return whether ffprobe finds a video stream in a file that is no cover of a sound.

    Raises:
        BadVideoError: The file cannot be read for now.
        SetupError: ffprobe is not installed.
    """
    entries = "stream=codec_type,width:stream_disposition=attached_pic,still_image"
    try:
        with Recording(path) as recording:
            text = run_ffprobe(recording, ("-show_entries", entries, "-of", "compact"))
    except FfmpegError:
        return False

    return any(
        "codec_type=video" in fields
        and fields.isdisjoint(
            ("width=0", "disposition:attached_pic=1", "disposition:still_image=1")
        )
        for fields in (set(line.split("|")) for line in text.splitlines())
    )


def _has_brand(head: bytes, brands: tuple[bytes, ...]) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in brands


def _has_sync(data: bytes, start: int, size: int, packets: int) -> bool:
    """Return whether the sync byte of a transport stream begins each of some packets."""
    return data[start : start + (packets - 1) * size + 1 : size] == b"\x47" * packets
