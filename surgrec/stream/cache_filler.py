"""The process that fills a disk cache with the shards that a run will read, while the run reads what is there."""

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
from surgrec.stream.cache_policy import CacheStep, Demand, ShardDemands, next_step

_NICE = 10
"""It gives way to decoding where there are not cores enough for both."""
_IDLE_S = 1.0
_END_S = 5.0
_SET_ASIDE_S = 60.0
"""How long a shard that could not be fetched is left to ranged reads before it is tried again."""
_LOOKS_PER_HORIZON = 8
_COUNTS = ("filled", "filled_bytes", "evicted", "fill_failures")

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class FillerStatus:
    """What the training process and the one that fills tell each other, in shared memory."""

    position: ctypes.c_longlong = field(default_factory=lambda: RawValue(ctypes.c_longlong, 0))
    """Where reading has come to; written by the training process."""
    counts: "ctypes.Array[ctypes.c_longlong]" = field(
        default_factory=lambda: RawArray(ctypes.c_longlong, len(_COUNTS))
    )
    """Shards and bytes that came in, shards that went, failures; written by the one that fills."""

    def counted(self) -> dict[str, int]:
        """The counts by name."""
        return dict(zip(_COUNTS, self.counts, strict=True))

    def count(self, **counts: int) -> None:
        """Counts on."""
        for name, number in counts.items():
            self.counts[_COUNTS.index(name)] += number


@contextmanager
def run_cache_filler(
    cache: DiskCache, needs: Callable[[], ShardDemands], start: int
) -> Iterator[FillerStatus]:
    """Fills the cache for a run from position `start` on, in a process of its own, for as long as the context lasts.

    Where another job fills the same folder, this one reads what is there, and takes over once the other ends. Nothing depends on
    the process: when it fails or is killed, samples are read from the store one by one.

    Args:
        cache: A prepared folder.
        needs: Makes what the run wants; called in the process.
        start: First position.
    """
    told = FillerStatus()
    told.position.value = start
    # Forked, as the loader's workers are: the index is shared, clients and threads are made on the other side.
    process = multiprocessing.get_context("fork").Process(
        target=_fill, args=(cache, needs, told, os.getpid()), name="fill", daemon=True
    )
    process.start()
    try:
        yield told
    finally:
        process.terminate()
        process.join(_END_S)
        process.kill()  # no harm to one that has ended


def _fill(
    cache: DiskCache, needs: Callable[[], ShardDemands], told: FillerStatus, parent: int
) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the training process, which then ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.nice(_NICE)
    is_wanted = partial(_is_child_of, parent)
    try:
        while cache.try_acquire() is None and is_wanted():
            time.sleep(_IDLE_S)
        filler = _Filler(cache, needs(), told, is_wanted)
        while is_wanted():
            change = filler.next_step()
            if change is None:
                time.sleep(_IDLE_S)
            else:
                filler.make(change)
    except OSError as error:
        told.count(fill_failures=1)
        _log.warning("cache: %s; nothing is added any more, samples are read from the store", error)


def _is_child_of(parent: int) -> bool:
    """Whether the training process still lives: a daemon outlives one that was killed with -9."""
    return os.getppid() == parent


class _Filler:
    """What is known of the near future, and what could not be fetched."""

    def __init__(
        self, cache: DiskCache, needs: ShardDemands, told: FillerStatus, go_on: Callable[[], bool]
    ) -> None:
        self._cache, self._needs, self._told, self._go_on = cache, needs, told, go_on
        self._files = {file.sha256: file for file in needs.files}
        self._sizes = {file.sha256: file.bytes for file in needs.files}
        self._limit_bytes = cache.limit_bytes
        self._known: dict[str, Demand] = {}
        self._look_again_at = -1
        self._set_aside: dict[str, float] = {}

    def next_step(self) -> CacheStep | None:
        position = int(self._told.position.value)
        if position >= self._look_again_at:
            end = self._needs.horizon(position, self._limit_bytes)
            self._known = self._needs.between(position, end)
            self._look_again_at = position + max(1, (end - position) // _LOOKS_PER_HORIZON)
        now = time.monotonic()
        needs = {
            sha256: need
            for sha256, need in self._known.items()
            if self._set_aside.get(sha256, now) <= now
        }
        return next_step(needs, self._sizes, self._cache.files(), self._limit_bytes)

    def make(self, change: CacheStep) -> None:
        """Brings the change about; a failure is told, counted, and left to the store's ranged reads."""
        file = self._files[change.fetch]
        try:
            for sha256 in change.drop:
                self._cache.drop(sha256)
                self._told.count(evicted=1)
            if self._cache.add(file, go_on=self._go_on):
                self._told.count(filled=1, filled_bytes=file.bytes)
        except CacheError as error:  # the disk: what it holds is all that it takes
            self._told.count(fill_failures=1)
            self._limit_bytes = sum(self._cache.files().values())
            _log.warning(
                "cache: %s; it keeps what it has, other samples are read from the store", error
            )
        except StorageError as error:
            self._told.count(fill_failures=1)
            self._set_aside[change.fetch] = time.monotonic() + _SET_ASIDE_S
            _log.warning("cache: %s; samples of this shard are read one by one", error)
