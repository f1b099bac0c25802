"""Whether data is missing at the end of a file, by what its container says about its size."""

import os

from surgrec.recordings._recording import Recording

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_SMALLEST_SHARE = 0.98
"""Share of the stated bytes that a whole file has at least."""


def lacks_bytes(recording: Recording) -> bool:
    """Return whether an AVI, ASF or FLV file is shorter than its container says."""
    head = os.pread(recording.fileno(), 4096, 0)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _is_below(recording, int.from_bytes(head[4:8], "little"))
    if head.startswith(_ASF):
        at = head.find(_ASF_FILE_PROPERTIES)
        return at > 0 and _is_below(recording, int.from_bytes(head[at + 40 : at + 48], "little"))
    return head[:3] == b"FLV" and _ends_inside_a_tag(recording)


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
