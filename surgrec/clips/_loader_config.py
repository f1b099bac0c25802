"""Settings of the loader. None of them changes a batch."""

import os
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import ConfigError
from surgrec.storage import DiskCache

_MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made. No field changes their content."""

    num_workers: int | None = None
    """Processes per rank that read and decode. 0: threads of the training process do it. None: the
    cores of the rank minus one, at most 16."""
    decode_threads: int = 1
    """Decoding threads per worker; without workers, of the training process."""
    fetch_threads: int = 8
    """Threads per worker that read byte ranges of shards; without workers, per decoding thread."""
    fetch_ahead: int = 2
    """Batches per worker, or per decoding thread, whose bytes are read while earlier ones are
    decoded."""
    prefetch_batches: int = 4
    """Batches per worker that are made in advance; without workers, in total."""
    timeout_s: int = 600
    """Longest wait for a batch, seconds, before the run stops."""
    cache_dir: Path | None = None
    """Folder on a local disk for copies of whole shards. None reads each sample from the corpus."""
    cache_gb: float = 100.0
    """Maximum size of cache_dir, gigabytes (10^9 bytes), including unfinished copies."""

    def __post_init__(self) -> None:
        least = {
            "num_workers": 0,
            "decode_threads": 1,
            "fetch_threads": 1,
            "fetch_ahead": 0,
            "prefetch_batches": 1,
            "timeout_s": 1,
        }
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ConfigError(f"loader.{name} is {value}; give at least {smallest}")
        if self.cache_gb <= 0:
            raise ConfigError(f"loader.cache_gb is {self.cache_gb:g}; give a positive number")

    @property
    def workers(self) -> int:
        """Number of processes per rank.

        Without `num_workers`: the rank's share of the machine's cores, minus one for training, at
        most 16.
        """
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return min(max(cores - 1, 1), _MOST_WORKERS)

    @property
    def cache(self) -> DiskCache | None:
        """The cache of whole shards, or None without `cache_dir`."""
        return DiskCache(self.cache_dir, int(self.cache_gb * 1e9)) if self.cache_dir else None
