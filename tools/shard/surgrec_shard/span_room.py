"""The disk space that decoded spans of long videos may take."""

import shutil
from pathlib import Path

from surgrec_shard.disk import writing_to

MOST_BYTES = 64_000_000_000
"""Most bytes of all decoded spans of a build."""
_FREE_SHARE = 0.5
"""The share of the free space that spans may take: clips and shards need some of it, too."""


class SpanRoom:
    """Space for the decoded spans of the videos that a build has divided."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def take(self, video: str, folder: Path, num_bytes: int) -> bool:
        """Return whether the spans of a video have room, and keep it for them.

        Args:
            video: Name of the video.
            folder: Folder of the spans, which may have some of them. It is created.
            num_bytes: Size of all spans.

        Raises:
            StorageError: The folder cannot be written or read.
        """
        with writing_to(folder.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            stored = sum(path.stat().st_size for path in folder.glob("*/*"))
            free = shutil.disk_usage(folder).free

        # What other videos have stored is counted as if it were still to come.
        others = sum(self._taken.values())
        rest = others + max(0, num_bytes - stored)
        if others + num_bytes > MOST_BYTES or rest > _FREE_SHARE * free:
            return False
        self._taken[video] = num_bytes
        return True

    def give_back(self, video: str) -> None:
        """Give the room of a video back, if it has any."""
        self._taken.pop(video, None)
