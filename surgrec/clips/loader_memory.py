"""The host memory of a loader, and how far it works ahead within a bound."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from surgrec.clips._loader_config import MOST_WORKERS, LoaderConfig
from surgrec.clips.augment import AugmentConfig, draw_view
from surgrec.errors import ConfigError

HEADROOM = 5 / 4
"""Buffers are this much larger than the largest batch so far: crops vary, and the next batch may be
larger."""
_IN_USE = 2
"""Batches, or parts of them, that a training loop holds at once: the current one, and the next one
while it arrives."""
_VIEWS = 256
"""Views whose sizes stand for those of all clips."""
_SIGMAS = 4.0
"""Standard deviations by which a part may exceed the mean size."""


@dataclass(frozen=True, kw_only=True)
class StoredClips:
    """The clips of a corpus, as far as they decide the size of a batch."""

    height: int
    """Height of the largest frame, pixels."""
    width: int
    """Width of the largest frame, pixels."""
    mp4_bytes: float
    """Mean size of a clip."""


DEFAULT_STORED = StoredClips(height=256, width=456, mp4_bytes=182e6 / 3600 * 16)
"""Clips of 16 s as `surgrec-shard build` stores them by default, 16:9 and 182 MB per hour."""


@dataclass(frozen=True, kw_only=True)
class RankBatch:
    """The batches of one rank, as far as they decide the memory of its loader."""

    samples: int
    """Samples of a batch."""
    views: int
    """Clips per sample."""
    num_frames: int
    """Frames of a clip."""
    augment: AugmentConfig
    """Distribution of the views."""
    stored: StoredClips
    """The corpus."""
    parts: int = 1
    """Parts in which a training loop takes a batch."""

    def frames(self, samples: int) -> float:
        """Return the size of the decoded frames of some samples, bytes."""
        return _most(self._clips, samples * self.views)

    def pinned(self, samples: int) -> float:
        """Return the page-locked memory for these frames, bytes.

        PyTorch rounds the memory of each clip up to a power of two, and keeps it.
        """
        return _most(2 ** np.ceil(np.log2(self._clips)), samples * self.views)

    @cached_property
    def _clips(self) -> np.ndarray:
        """Sizes of some clips, bytes."""
        stored = self.stored
        views = (draw_view(stored.height, stored.width, self.augment, n) for n in range(_VIEWS))
        pixels = np.array([view.box.height * view.box.width for view in views], dtype=np.float64)
        return pixels * self.num_frames * 3


@dataclass(frozen=True, kw_only=True)
class Prefetch:
    """How a loader works ahead."""

    parts: int
    """Parts of a batch. Each is made and sent on its own."""
    requests: int
    """Parts per worker that are made in advance; without workers, in total."""


@dataclass(frozen=True, kw_only=True)
class LoaderMemory:
    """Host memory of the loader of one rank at most, bytes."""

    buffers: int
    """Decoded frames: those that are made, that wait and, without copies, that are in use."""
    pinned: int
    """Copies in page-locked memory, from which a GPU reads."""
    encoded: int
    """Clips that are read ahead."""

    @property
    def total(self) -> int:
        """Sum of all parts."""
        return self.buffers + self.pinned + self.encoded


def memory_of(
    config: LoaderConfig, prefetch: Prefetch, batch: RankBatch, *, pinned: bool
) -> LoaderMemory:
    """Return the memory that a loader may take.

    Args:
        config: Settings of the loader.
        prefetch: How it works ahead.
        batch: Batches of a rank.
        pinned: Whether frames are copied to page-locked memory.
    """
    samples = math.ceil(batch.samples / prefetch.parts)
    in_use = parts_in_use(prefetch, batch)

    # Processes keep buffers of their own; threads share those that are ahead and in use.
    if config.workers:
        producers = config.workers
        ahead = producers * prefetch.requests
        buffers = HEADROOM * producers * buffers_per_worker(config, prefetch, batch, pinned=pinned)
    else:
        producers = config.decode_threads
        ahead = max(prefetch.requests, producers) + 1
        buffers = producers if pinned else ahead + in_use

    return LoaderMemory(
        buffers=int(buffers * batch.frames(samples)),
        pinned=int((ahead + in_use) * batch.pinned(samples)) if pinned else 0,
        encoded=int(producers * (config.fetch_ahead + 1) * samples * batch.stored.mp4_bytes),
    )


def parts_in_use(prefetch: Prefetch, batch: RankBatch) -> int:
    """Return how many parts that workers make a training loop holds at once."""
    return _IN_USE * math.ceil(prefetch.parts / batch.parts)


def buffers_per_worker(
    config: LoaderConfig, prefetch: Prefetch, batch: RankBatch, *, pinned: bool
) -> int:
    """Return how many parts of a worker exist at once.

    Copied frames leave their buffer at once. Otherwise, the parts in use came from the workers in
    turn.
    """
    in_use = 0 if pinned else math.ceil(parts_in_use(prefetch, batch) / config.workers)
    return prefetch.requests + in_use


def prefetch_within(config: LoaderConfig, batch: RankBatch, *, pinned: bool) -> Prefetch:
    """Return how a loader works ahead within `memory_gb`: as far as configured, or as it can.

    First less is made in advance. Then a batch is made in more parts, so that the workers have less
    in their hands. Batches and their order do not change.

    Arguments are those of `memory_of`.

    Raises:
        ConfigError: The batches or parts in use alone need more.
    """
    prefetch, memory = _largest_within(config, batch, pinned=pinned)
    if memory.total <= config.memory_gb * 1e9:
        return prefetch
    raise ConfigError(
        f"loader.memory_gb is {config.memory_gb:g}, but the loader of a process needs "
        f"{memory.total / 1e9:.2g} GB for batches of {batch.samples} samples; give "
        f"--loader.memory_gb {_enough(memory.total):g}, or more processes or a larger "
        "--accumulation, so that fewer samples are in use"
    )


def least_memory(
    config: LoaderConfig, batch: RankBatch, *, pinned: bool
) -> tuple[LoaderMemory, float | None]:
    """Return the memory of a loader within its bound, and the bound that it needs instead, if any.

    Arguments are those of `memory_of`. The second value is in gigabytes; None: the bound suffices.
    """
    _, memory = _largest_within(config, batch, pinned=pinned)
    fits = memory.total <= config.memory_gb * 1e9
    return memory, None if fits else _enough(memory.total)


def with_most_workers(config: LoaderConfig) -> LoaderConfig:
    """Return the settings with as many workers as any machine starts, if the machine decides."""
    return config if config.num_workers is not None else replace(config, num_workers=MOST_WORKERS)


def _largest_within(
    config: LoaderConfig, batch: RankBatch, *, pinned: bool
) -> tuple[Prefetch, LoaderMemory]:
    """Return the largest way to work ahead whose memory is within the bound, or the smallest."""
    for candidate in _candidates(config, batch):
        memory = memory_of(config, candidate, batch, pinned=pinned)
        if memory.total <= config.memory_gb * 1e9:
            break
    return candidate, memory


def _candidates(config: LoaderConfig, batch: RankBatch) -> Iterator[Prefetch]:
    """Yield ways to work ahead, from the one that is configured to the smallest.

    The edges of the parts that are taken are always edges of parts that are made.
    """
    parts, samples = batch.parts, batch.samples
    while True:
        for requests in range(config.prefetch_batches, min(config.prefetch_batches, 2) - 1, -1):
            yield Prefetch(parts=parts, requests=requests)
        if parts == samples:
            break
        parts = min(2 * parts, samples)
    yield Prefetch(parts=samples, requests=1)


def _enough(size: int) -> float:
    """Return a bound above this size: gigabytes, rounded up."""
    return float(math.ceil(size / 1e9)) if size >= 10**9 else math.ceil(size / 1e6) / 1e3


def _most(sizes: np.ndarray, clips: int) -> float:
    """Return the size of some clips: the mean, and what chance adds."""
    most = sizes.mean() + _SIGMAS * sizes.std() / math.sqrt(clips)
    return float(clips * min(most, sizes.max()))
