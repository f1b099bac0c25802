"""Whether data is missing at the end of a file, by what its container says about its size."""

import os
from collections.abc import Iterator

from surgrec.recordings._boxes import HEADER_BYTES, box_header
from surgrec.recordings._ffmpeg import FfmpegError, run_ffprobe
from surgrec.recordings._recording import Recording

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_INDEX_BYTES = 16 << 20
"""Longest index at the end of a file that is looked for."""
_SMALLEST_SHARE = 0.98
"""Share of the stated bytes that a whole file has at least."""
_LARGEST_TAIL = 0.05
"""Share of a file that may follow its last packet: an index."""
_MOST_BOXES = 1_000_000


def lacks_bytes(recording: Recording) -> bool:
    """Return whether a file without an index at its end is shorter than its container says.

    It tells this of AVI, ASF and FLV files.
    """
    head = os.pread(recording.fileno(), 4096, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _is_below(recording, int.from_bytes(head[4:8], "little"))
    if head.startswith(_ASF):
        at = head.find(_ASF_FILE_PROPERTIES)
        return at > 0 and _is_below(recording, int.from_bytes(head[at + 40 : at + 48], "little"))
    return head[:3] == b"FLV" and _ends_inside_a_tag(recording)


def is_unfinished(recording: Recording) -> bool:
    """Return whether a file without an index at its end was left before its size was written.

    It tells this of AVI and FLV files.
    """
    head = os.pread(recording.fileno(), 4096, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return head[4:8] in (bytes(4), b"\xff" * 4)
    if head[:3] != b"FLV" or not _ends_inside_a_tag(recording):
        return False
    at = head.find(b"\x00\x08duration\x00")
    return at < 0 or head[at + 11 : at + 19] == bytes(8)


def has_index_at_end(recording: Recording) -> bool:
    """Return whether the end of an AVI or ASF file is there: the index of its packets."""
    head, size = os.pread(recording.fileno(), 16, 0), recording.identity.size
    name = b"idx1" if head[:4] == b"RIFF" else _ASF_INDEX
    if head[:4] != b"RIFF" and head != _ASF:
        return False
    start = max(0, size - _INDEX_BYTES)
    tail = os.pread(recording.fileno(), _INDEX_BYTES, start)
    at = tail.rfind(name)
    length = int.from_bytes(tail[at + len(name) : at + len(name) + 4], "little")
    return at >= 0 and length <= len(tail) - at


def _is_below(recording: Recording, stated: int) -> bool:
    # Recorders that could not finish a file leave 0 or all bits there.
    return stated < 1 << 62 and recording.identity.size < _SMALLEST_SHARE * stated


def _ends_inside_a_tag(recording: Recording) -> bool:
    """Return whether an FLV file ends in the middle of a tag. Each tag is followed by its size."""
    file, size = recording.fileno(), recording.identity.size
    length = int.from_bytes(os.pread(file, 4, size - 4), "big")
    if not 11 < length < size - 4:
        return True
    header = os.pread(file, 4, size - 4 - length)
    return int.from_bytes(header[1:4], "big") != length - 11


def unread_notes(recording: Recording, end: int, container: str) -> Iterator[str]:
    """Yield sentences about parts of the file that ffmpeg does not read.

    Args:
        recording: The file.
        end: End of its last video packet, bytes; 0 if unknown.
        container: ffmpeg's name of the format.
    """
    size = recording.identity.size
    if "mp4" in container:
        second, readable = _read_boxes(recording)
        if second and end <= second:
            yield "a second mp4 was appended to the file: only the first is read"
        if size - readable > _LARGEST_TAIL * size:
            yield _unread_note(size - readable, size)
    elif end and size - end > _LARGEST_TAIL * size:
        # Sound may go on after the picture.
        tail = size - max(end, _last_packet_end(recording))
        if tail > _LARGEST_TAIL * size:
            yield _unread_note(tail, size)


def _unread_note(tail: int, size: int) -> str:
    return f"the last {tail / 1e6:.1f} MB of the file ({tail / size:.0%}) cannot be read"


def _read_boxes(recording: Recording) -> tuple[int, int]:
    """Return where an appended mp4 begins in a file, 0 if none does, and where its boxes end."""
    at, second, size = 0, 0, recording.identity.size
    mended = dict(recording.mended)
    for _ in range(_MOST_BOXES):
        if at >= size:
            break
        header = mended.get(at) or os.pread(recording.fileno(), HEADER_BYTES, at)
        kind, _, length = box_header(header, size - at)
        if length < 8 or not kind.isalnum():
            return second, at
        if kind == b"ftyp" and not second:
            second = at
        at += length
    return second, size


def _last_packet_end(recording: Recording) -> int:
    """Return the end of the last packet of any stream, bytes."""
    arguments = ["-show_entries", "packet=pos,size", "-of", "csv=print_section=0"]
    try:
        lines = run_ffprobe(recording, arguments).split()
    except FfmpegError:
        return 0
    pairs = [line.split(",")[:2] for line in lines]
    return max(
        (int(pos) + int(size) for size, pos in pairs if size.isdigit() and pos.isdigit()), default=0
    )
