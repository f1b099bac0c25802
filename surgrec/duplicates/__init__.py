"""Near-duplicates: stretches of video that show the same seconds. No torch.

A hash describes a second of a video. Stretches are copies if many of their seconds in a row match.

Example:
    >>> hashes = [hash_video(frames, times_s) for frames, times_s in videos]
    >>> find_copies(hashes)[0].speed
    1.5
"""

from surgrec.duplicates._copies import Copy, CopyRules, find_copies
from surgrec.duplicates._hash import HASH_VERSION, HEIGHT_PX, VideoHashes, hash_video
from surgrec.duplicates._known import KnownOverlap, known_overlaps, overlaps_by_name, overlaps_of

__all__ = [
    "HASH_VERSION",
    "HEIGHT_PX",
    "Copy",
    "CopyRules",
    "KnownOverlap",
    "VideoHashes",
    "find_copies",
    "hash_video",
    "known_overlaps",
    "overlaps_by_name",
    "overlaps_of",
]
