"""Frames that wait for a decision, in memory or, if they are many, in a file."""

import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from surgrec_shard.sampling import Frames

_MEMORY_BYTES = 64 << 20


class FrameQueue:
    """Frames, first in, first out. If they exceed 64 MiB, they are in a file without a name.

    Args:
        folder: Folder of the file.
        size: Bytes of each picture.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._frames: deque[Frames] = deque()
        self._file = tempfile.SpooledTemporaryFile(max_size=_MEMORY_BYTES, dir=str(folder))  # noqa: SIM115
        self._taken = self._added = 0

    def close(self) -> None:
        """Remove the file."""
        self._file.close()

    def append(self, frames: Frames) -> None:
        """Add the frames of one picture.

        Raises:
            OSError: The disk is full.
        """
        self._file.seek(self._added * self._size)
        self._file.write(frames.data)
        self._added += 1
        self._frames.append(replace(frames, data=b""))

    def span(self, pictures: int, *, behind: int) -> tuple[int, int]:
        """Return the first frame of some pictures, and the one behind their last.

        Args:
            pictures: How many.
            behind: How many wait before them.
        """
        first, last = self._frames[behind], self._frames[behind + pictures - 1]
        return first.first, last.first + last.count

    def take(self, pictures: int) -> Iterator[Frames]:
        """Remove the first pictures, and yield their frames."""
        for _ in range(pictures):
            self._file.seek(self._taken * self._size)
            data = self._file.read(self._size)
            self._taken += 1
            yield replace(self._frames.popleft(), data=data)
        self._reuse()

    def drop(self, pictures: int) -> None:
        """Remove the first pictures."""
        for _ in range(pictures):
            self._frames.popleft()
        self._taken += pictures
        self._reuse()

    def _reuse(self) -> None:
        """Write over the file from its start if no frames wait."""
        if not self._frames:
            self._taken = self._added = 0
