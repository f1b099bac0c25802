"""The process that fills a disk cache with the shards of a run while the run reads."""

import ctypes
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.sharedctypes import RawArray, RawValue

from surgrec.errors import CacheError, StorageError
from surgrec.storage import DiskCache
from surgrec.stream._cache_policy import CacheStep, Demand, ShardDemands, next_step
from surgrec.stream._stream import Stream

_NICE = 10
"""Niceness of the filler process: it yields to decoding when cores are scarce."""
_IDLE_S = 1.0
_STOP_S = 5.0
_RETRY_SHARD_S = 60.0
"""Seconds until a failed shard is tried again; meanwhile its samples are read one by one."""
_LOOKS_PER_HORIZON = 8
_COUNT_NAMES = ("filled", "filled_bytes", "evicted", "fill_failures")

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class FillerStatus:
    """State that the training process and the filler process share in memory."""

    position: ctypes.c_longlong = field(default_factory=lambda: RawValue(ctypes.c_longlong, 0))
    """Position that reading has reached; written by the training process."""
    counts: "ctypes.Array[ctypes.c_longlong]" = field(
        default_factory=lambda: RawArray(ctypes.c_longlong, len(_COUNT_NAMES))
    )
    """Shards added, their bytes, shards evicted, failures; written by the filler process."""

    def counted(self) -> dict[str, int]:
        """Return the counts by name: filled, filled_bytes, evicted, fill_failures."""
        return dict(zip(_COUNT_NAMES, self.counts, strict=True))

    def count(self, **increments: int) -> None:
        """Add to counts, as in `count(evicted=1)`."""
        for name, increment in increments.items():
            self.counts[_COUNT_NAMES.index(name)] += increment


@contextmanager
def run_cache_filler(
    cache: DiskCache,
    stream: Stream,
    *,
    start: int,
    positions: int,
    slots: tuple[int, int],
    global_batch: int,
) -> Iterator[FillerStatus]:
    """Fill a cache for a run, in a separate process, for as long as the context lasts.

    If another job already fills the same folder, this filler waits and takes over when the other
    job ends. The run does not depend on the filler: if it fails or is killed, samples are read from
    the store one by one.

    Args:
        cache: A prepared cache folder.
        stream: The stream of the run.
        start: First position of this start of the run.
        positions: Number of positions of the whole run.
        slots: Slots of each global batch that this machine reads, as (first, end).
        global_batch: Positions per step.
    """
    status = FillerStatus()
    status.position.value = start
    make_demands = partial(
        ShardDemands, stream, positions=positions, slots=slots, global_batch=global_batch
    )

    # Fork, so that the index is shared; the child makes its own clients and threads.
    process = multiprocessing.get_context("fork").Process(
        target=_fill, args=(cache, make_demands, status, os.getpid()), name="fill", daemon=True
    )
    process.start()
    try:
        yield status
    finally:
        process.terminate()
        process.join(_STOP_S)
        process.kill()  # has no effect on a process that has ended


def _fill(
    cache: DiskCache, make_demands: Callable[[], ShardDemands], status: FillerStatus, parent: int
) -> None:
    """Run the filler process until its parent ends or the disk fails."""
    # Ctrl-C is meant for the training process, which then terminates this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(_NICE)
    is_wanted = partial(_is_child_of, parent)

    try:
        # Wait until no other job fills this folder.
        while cache.try_hold() is None and is_wanted():
            time.sleep(_IDLE_S)

        # Make the demands here: they take a second of processor time with millions of samples.
        filler = _Filler(cache, make_demands(), status, is_wanted)
        while is_wanted():
            step = filler.next_step()
            if step is None:
                time.sleep(_IDLE_S)
            else:
                filler.execute(step)
    except (OSError, CacheError) as error:
        status.count(fill_failures=1)
        _log.warning(
            "cache: %s; the cache is no longer filled, and samples are read from the store", error
        )


def _is_child_of(parent: int) -> bool:
    """Return whether the training process still runs.

    A daemon process outlives a parent killed with SIGKILL.
    """
    return os.getppid() == parent


class _Filler:
    """The demands of the near future, and the shards that recently could not be fetched."""

    def __init__(
        self,
        cache: DiskCache,
        demands: ShardDemands,
        status: FillerStatus,
        should_continue: Callable[[], bool],
    ) -> None:
        self._cache = cache
        self._shard_demands = demands
        self._status = status
        self._should_continue = should_continue
        self._files = {file.sha256: file for file in demands.files}
        self._sizes = {file.sha256: file.bytes for file in demands.files}
        self._limit_bytes = cache.limit_bytes
        self._demands: dict[str, Demand] = {}
        self._next_look = -1
        self._retry_at: dict[str, float] = {}

    def next_step(self) -> CacheStep | None:
        """Return the next change of the cache, or None if nothing is worth its bytes."""
        # Look ahead again after an eighth of the horizon.
        position = int(self._status.position.value)
        if position >= self._next_look:
            end = self._shard_demands.horizon(position, self._limit_bytes)
            self._demands = self._shard_demands.between(position, end)
            self._next_look = position + max(1, (end - position) // _LOOKS_PER_HORIZON)

        # Leave out shards that recently failed.
        now = time.monotonic()
        demands = {
            sha256: demand
            for sha256, demand in self._demands.items()
            if self._retry_at.get(sha256, now) <= now
        }
        return next_step(demands, self._sizes, self._cache.files(), self._limit_bytes)

    def execute(self, step: CacheStep) -> None:
        """Carry out a step.

        A failure is logged and counted; ranged reads then serve the shard's samples.
        """
        file = self._files[step.fetch]
        try:
            for sha256 in step.drop:
                self._cache.drop(sha256)
                self._status.count(evicted=1)
            if self._cache.add(file, should_continue=self._should_continue):
                self._status.count(filled=1, filled_bytes=file.bytes)

        # The disk is full or fails: do not ask it for more than it holds now.
        except CacheError as error:
            self._status.count(fill_failures=1)
            self._limit_bytes = sum(self._cache.files().values())
            _log.warning(
                "cache: %s; the cache keeps its shards, and other samples are read from the store",
                error,
            )

        except StorageError as error:
            self._status.count(fill_failures=1)
            self._retry_at[step.fetch] = time.monotonic() + _RETRY_SHARD_S
            _log.warning("cache: %s; samples of this shard are read one by one", error)
