"""Missing data at the end of a file, found by the size that its container states."""

from collections.abc import Iterator

from surgrec.mp4_boxes import HEADER_BYTES, box_header
from surgrec.recordings._ffmpeg import FfmpegError, run_ffprobe
from surgrec.recordings._recording import Part

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_INDEX = bytes.fromhex("90080033b1e5cf1189f400a0c90349cb")
_LONGEST_ASF_BLOCK = 1 << 16
_INDEX_BYTES = 16 << 20
"""Longest index at the end of a file that is looked for."""
_SMALLEST_SHARE = 0.98
"""Share of the stated bytes that a whole file has at least."""
_LARGEST_TAIL = 0.05
"""Share of a file that may follow its last packet: an index."""
_MOST_BOXES = 1_000_000


def lacks_bytes(part: Part) -> bool:
    """Return whether a file without an index at its end is shorter than its container says.

    It tells this of AVI, ASF and FLV files.
    """
    head = part.read(4096, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _is_below(part, int.from_bytes(head[4:8], "little"))
    if head.startswith(_ASF):
        at = head.find(_ASF_FILE_PROPERTIES)
        return at > 0 and _is_below(part, int.from_bytes(head[at + 40 : at + 48], "little"))
    return head[:3] == b"FLV" and _ends_inside_a_tag(part)


def is_unfinished(part: Part) -> bool:
    """Return whether a file without an index at its end was left before its size was written.

    It tells this of AVI and FLV files.
    """
    head = part.read(4096, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return head[4:8] in (bytes(4), b"\xff" * 4)
    if head[:3] != b"FLV" or not _ends_inside_a_tag(part):
        return False
    at = head.find(b"\x00\x08duration\x00")
    return at < 0 or head[at + 11 : at + 19] == bytes(8)


def has_index_at_end(part: Part) -> bool:
    """Return whether the end of an AVI or ASF file is there: the index of its packets."""
    head, size = part.read(16, 0), part.size
    name = b"idx1" if head[:4] == b"RIFF" else _ASF_INDEX
    if head[:4] != b"RIFF" and head != _ASF:
        return False
    start = max(0, size - _INDEX_BYTES)
    tail = part.read(_INDEX_BYTES, start)
    at = tail.rfind(name)
    length = int.from_bytes(tail[at + len(name) : at + len(name) + 4], "little")
    return at >= 0 and length <= len(tail) - at


def _is_below(part: Part, stated: int) -> bool:
    # Recorders that could not finish a file leave 0 or all bits there.
    return stated < 1 << 62 and part.size < _SMALLEST_SHARE * stated


def _ends_inside_a_tag(part: Part) -> bool:
    """Return whether an FLV file ends in the middle of a tag. Each tag is followed by its size."""
    size = part.size
    length = int.from_bytes(part.read(4, size - 4), "big")
    if not 11 < length < size - 4:
        return True
    header = part.read(4, size - 4 - length)
    return int.from_bytes(header[1:4], "big") != length - 11


def unread_notes(part: Part, end: int, container: str) -> Iterator[str]:
    """Yield sentences about parts of the file that ffmpeg does not read.

    Args:
        part: The file.
        end: End of its last video packet, bytes; 0 if unknown.
        container: ffmpeg's name of the format.
    """
    size = part.size
    if "mp4" in container:
        second, readable = _read_boxes(part)
        if second and end <= second:
            yield "a second movie was appended to the file: only the first is read"
        if size - readable > _LARGEST_TAIL * size:
            yield _unread_note(size - readable, size)
    elif end and size - end > _LARGEST_TAIL * size:
        # Sound may go on after the picture.
        tail = size - max(end, _last_packet_end(part)) - _asf_rest(part)
        if tail > _LARGEST_TAIL * size:
            yield _unread_note(tail, size)


def _asf_rest(part: Part) -> int:
    """Return the bytes behind the last packet of a whole ASF file; 0 for other formats.

    Packets have the place of their block, whose end is padded. Indexes follow the last block.
    """
    head, size = part.read(4096, 0), part.size
    at = head.find(_ASF_FILE_PROPERTIES)
    if not head.startswith(_ASF) or at < 0:
        return 0
    rest = min(int.from_bytes(head[at + 96 : at + 100], "little"), _LONGEST_ASF_BLOCK)

    tail = part.read(_INDEX_BYTES, max(0, size - _INDEX_BYTES))
    index = tail.find(_ASF_INDEX)
    while index >= 0 and tail.startswith(_ASF_INDEX, index):
        length = int.from_bytes(tail[index + 16 : index + 24], "little")
        if not 24 <= length <= len(tail) - index:
            break
        rest, index = rest + length, index + length
    return rest


def _unread_note(tail: int, size: int) -> str:
    return f"the last {tail / 1e6:.1f} MB of the file ({tail / size:.0%}) cannot be read"


def _read_boxes(part: Part) -> tuple[int, int]:
    """Return where a second movie box lies, 0 if none does, and where the boxes end."""
    at, second, size = 0, 0, part.size
    first: int | None = None
    mended = dict(part.mended)

    for _ in range(_MOST_BOXES):
        if at >= size:
            break

        header = mended.get(at) or part.read(HEADER_BYTES, at)
        kind, _, length = box_header(header, size - at)
        if length < 8 or not kind.isalnum():
            return second, at

        if kind == b"moov":
            first, second = (at, second) if first is None else (first, second or at)

        at += length
    return second, size


def _last_packet_end(part: Part) -> int:
    """Return the end of the last packet of any stream, bytes."""
    arguments = ["-show_entries", "packet=pos,size", "-of", "csv=print_section=0"]
    try:
        lines = run_ffprobe(part, arguments).split()
    except FfmpegError:
        return 0
    pairs = [line.split(",")[:2] for line in lines]
    return max(
        (int(pos) + int(size) for size, pos in pairs if size.isdigit() and pos.isdigit()), default=0
    )
