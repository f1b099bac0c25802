"""The host memory of a loader, from its settings and the size of its batches."""

from dataclasses import dataclass

from surgrec.clips._augment import AugmentConfig, draw_view
from surgrec.clips._frame_memory import HEADROOM
from surgrec.clips._loader import BATCHES_IN_USE
from surgrec.clips._loader_config import LoaderConfig

_PINNED_ROUNDING = 2.0
"""PyTorch rounds page-locked memory up to a power of two per clip, and keeps it."""
_VIEWS = 64
"""Views over whose sizes a mean is taken."""


@dataclass(frozen=True, kw_only=True)
class BatchBytes:
    """Size of a batch."""

    frames: int
    """Decoded frames, bytes."""
    encoded: int
    """The MP4 clips from which they are decoded, bytes."""


@dataclass(frozen=True, kw_only=True)
class StoredClips:
    """The clips of a corpus, as far as they decide the size of a batch."""

    height: int
    """Height of the largest frame, pixels."""
    width: int
    """Width of the largest frame, pixels."""
    mp4_bytes: float
    """Mean size of a clip."""

    def batch(
        self, samples: int, views: int, num_frames: int, augment: AugmentConfig
    ) -> BatchBytes:
        """Return the size of a batch of this many samples, with crops of mean size."""
        boxes = [draw_view(self.height, self.width, augment, key).box for key in range(_VIEWS)]
        pixels = sum(box.height * box.width for box in boxes) / _VIEWS
        return BatchBytes(
            frames=int(samples * views * num_frames * pixels * 3),
            encoded=int(samples * self.mp4_bytes),
        )


DEFAULT_STORED = StoredClips(height=256, width=456, mp4_bytes=182e6 / 3600 * 16)
"""Clips of 16 s as `surgrec-shard build` stores them by default, 16:9 and 182 MB per hour."""


@dataclass(frozen=True, kw_only=True)
class LoaderMemory:
    """Host memory of the loader of one rank at most, bytes."""

    buffers: int
    """Decoded batches: those that are made, that wait and that are in use."""
    pinned: int
    """Copies in page-locked memory, from which a GPU reads."""
    encoded: int
    """Clips that are read ahead."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.buffers + self.pinned + self.encoded


def loader_memory(config: LoaderConfig, batch: BatchBytes, *, pinned: bool) -> LoaderMemory:
    """Return the memory that a loader with these settings may take.

    Args:
        config: Settings of the loader.
        batch: Size of a batch of one rank.
        pinned: Whether batches are copied to page-locked memory.
    """
    if config.workers:
        buffers = HEADROOM * config.workers * (config.prefetch_batches + BATCHES_IN_USE)
        waiting = config.workers * config.prefetch_batches + BATCHES_IN_USE
        producers = config.workers
    else:
        waiting = max(config.prefetch_batches, config.decode_threads) + 1 + BATCHES_IN_USE
        buffers = config.decode_threads if pinned else waiting
        producers = config.decode_threads
    return LoaderMemory(
        buffers=int(buffers * batch.frames),
        pinned=int(waiting * batch.frames * _PINNED_ROUNDING) if pinned else 0,
        encoded=producers * (config.fetch_ahead + 1) * batch.encoded,
    )
