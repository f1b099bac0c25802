"""Settings of the loader. None of them changes a batch."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from surgrec.ranges import Range, check_ranges
from surgrec.storage import DiskCache

MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class LoaderConfig:
    """How batches are made. No field changes their content."""

    num_workers: Annotated[int, Range(0, 1024)] | None = None
    """Processes per rank that read and decode. 0: threads of the training process do it. None: the
    cores of the rank minus one, at most 16."""
    decode_threads: Annotated[int, Range(1, 1024)] = 1
    """Decoding threads per worker; without workers, of the training process."""
    fetch_threads: Annotated[int, Range(1, 1024)] = 8
    """Threads per worker that read byte ranges of shards; without workers, per decoding thread."""
    fetch_ahead: Annotated[int, Range(0, 10_000)] = 2
    """Batches per worker, or per decoding thread, whose bytes are read while earlier ones are
    decoded."""
    prefetch_batches: Annotated[int, Range(1, 10_000)] = 4
    """Batches per worker that are made in advance at most; without workers, in total. With
    accumulation, parts of batches."""
    memory_gb: Annotated[float, Range(0, 10**6, above=True)] = 16.0
    """Maximum host memory for frames per rank, gigabytes (10^9 bytes): batches in use and in
    advance, read-ahead bytes and page-locked copies. If it does not suffice for prefetch_batches,
    fewer batches are made in advance, or parts of batches."""
    timeout_s: Annotated[int, Range(1, 10**7)] = 600
    """Longest wait for a batch, seconds, before the run stops."""
    cache_dir: Path | None = None
    """Folder on a local disk for copies of whole shards. None reads each sample from the corpus."""
    cache_gb: Annotated[float, Range(0, 10**9, above=True)] = 100.0
    """Maximum size of cache_dir, gigabytes (10^9 bytes), including unfinished copies."""

    def __post_init__(self) -> None:
        check_ranges(self, context="loader.")

    @property
    def workers(self) -> int:
        """Number of processes per rank.

        Without `num_workers`: the rank's share of the machine's cores, minus one for training, at
        most 16.
        """
        if self.num_workers is not None:
            return self.num_workers
        cores = len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return min(max(cores - 1, 1), MOST_WORKERS)

    @property
    def cache(self) -> DiskCache | None:
        """The cache of whole shards, or None without `cache_dir`."""
        return DiskCache(self.cache_dir, int(self.cache_gb * 1e9)) if self.cache_dir else None
