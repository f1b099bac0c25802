"""The bytes of samples: ranges of shards, merged where they are neighbors, read by several threads, checked by digest."""

import hashlib
import statistics
import tarfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from surgrec.errors import CacheError, SampleError, ShardError
from surgrec.shards import Sample, Source
from surgrec.storage import Counters, DiskCache, Store

_GAP_BYTES = 128 << 10
"""Ranges this close are read in one request: reading a gap costs less than asking twice."""

_QUICK_S = 0.002
"""Reads that take less than this come from this machine's memory, or nearly so."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A stretch of one shard that serves one or several samples."""

    source: str
    shard: str
    offset: int
    size: int
    samples: tuple[int, ...]
    """Places in the list of samples that was asked for."""


def plan_ranges(samples: Sequence[Sample], gap_bytes: int = _GAP_BYTES) -> list[Range]:
    """The fewest reads that cover the mp4 of every sample without reading through more than `gap_bytes` between two."""
    files = [(sample.clip.source, sample.shard) for sample in samples]
    places = sorted(
        range(len(samples)), key=lambda place: (files[place], samples[place].mp4_offset)
    )
    ranges: list[Range] = []
    for place in places:
        sample = samples[place]
        end = sample.mp4_offset + sample.mp4_size
        last = ranges[-1] if ranges else None
        is_same_file = last is not None and (last.source, last.shard) == files[place]
        if last and is_same_file and sample.mp4_offset <= last.offset + last.size + gap_bytes:
            size = max(last.size, end - last.offset)
            ranges[-1] = Range(**(vars(last) | {"size": size, "samples": (*last.samples, place)}))
        else:
            ranges.append(
                Range(
                    source=sample.clip.source,
                    shard=sample.shard,
                    offset=sample.mp4_offset,
                    size=sample.mp4_size,
                    samples=(place,),
                )
            )
    return ranges


@dataclass(frozen=True, kw_only=True)
class ReadStats:
    """What was read, in one process or several. Adds up."""

    samples: int = 0
    requests: int = 0
    """To stores, repeated ones included."""
    retries: int = 0
    """Requests that were repeated."""
    store_bytes: int = 0
    cache_bytes: int = 0
    """From whole shards on the local disk."""
    cache_dropped: int = 0
    """Cached shards that held wrong bytes."""
    read_again: int = 0
    """Ranges with wrong bytes that were asked for once more."""
    filled: int = 0
    """Whole shards that came into the cache."""
    filled_bytes: int = 0
    evicted: int = 0
    """Whole shards that made room in it."""
    fill_failures: int = 0
    fetch_s: float = 0.0
    """From asking for a batch's bytes to having them."""
    fetch_wait_s: float = 0.0
    """What decoding had to wait for them."""
    decode_s: float = 0.0
    """From a batch's bytes to its frames."""

    def __add__(self, other: "ReadStats") -> "ReadStats":
        return ReadStats(
            **{name: value + getattr(other, name) for name, value in vars(self).items()}
        )

    def __sub__(self, other: "ReadStats") -> "ReadStats":
        return ReadStats(
            **{name: value - getattr(other, name) for name, value in vars(self).items()}
        )


class Fetcher:
    """Reads the mp4 of samples. One per process; holds its threads and its counts.

    Args:
        sources: That samples may be of.
        threads: Ranges that are read at once.
        cache: Has whole shards of them, or some; None to read from the stores only.
    """

    def __init__(
        self, sources: Mapping[str, Source], threads: int, cache: DiskCache | None = None
    ) -> None:
        self._sources = sources
        self._cache = cache
        self._sha256 = {
            (source.name, shard.name): shard.sha256
            for source in sources.values()
            for shard in source.entry.shards
        }
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._is_quick = False
        self._counters = Counters()
        self._taking = threading.Lock()
        self._taken = self._read_so_far()

    def fetch(self, samples: Sequence[Sample]) -> list[bytes | SampleError]:
        """The mp4 of each sample, or the error of one whose bytes are not those of the index.

        Raises:
            StorageError: A shard cannot be read: an outage, never a bad sample.
            ShardError: A shard is another one than the index describes.
        """
        found: list[bytes | SampleError] = [b""] * len(samples)
        ranges = plan_ranges(samples)
        # A store that answers at once is read here: to wake a thread and to wait for it takes longer than such an answer.
        run = map if self._is_quick else self._pool.map
        durations_s = []
        for stretch, (mp4s, seconds) in zip(
            ranges, run(partial(self._timed_read, samples), ranges), strict=True
        ):
            durations_s.append(seconds)
            for place, mp4 in zip(stretch.samples, mp4s, strict=True):
                found[place] = mp4
        if durations_s:
            self._is_quick = statistics.fmean(durations_s) < _QUICK_S
        self._counters.add(samples=len(samples))
        return found

    def take_read_stats(self) -> ReadStats:
        """What was read since this was asked last."""
        with self._taking:
            before, self._taken = self._taken, self._read_so_far()
            return self._taken - before

    def _timed_read(
        self, samples: Sequence[Sample], stretch: Range
    ) -> tuple[list[bytes | SampleError], float]:
        began = time.perf_counter()
        return self._read(samples, stretch), time.perf_counter() - began

    def _read(self, samples: Sequence[Sample], stretch: Range) -> list[bytes | SampleError]:
        """The samples of a range. Where bytes are wrong, the store is asked: a disk or a wire may have changed them."""
        name, sha256 = (
            f"{stretch.source}/{stretch.shard}",
            self._sha256.get((stretch.source, stretch.shard)),
        )
        store = self._sources[stretch.source].store
        copy = (
            self._cache.read_range(sha256, stretch.offset, stretch.size)
            if self._cache and sha256
            else None
        )
        if copy is not None:
            mp4s = _parts(samples, stretch, copy)
            if not _has_bad(mp4s):
                self._counters.add(cache_bytes=len(copy))
                return mp4s
        data = store.read_range(name, stretch.offset, stretch.size)
        if self._cache and sha256 and copy not in (None, data):
            with suppress(
                CacheError
            ):  # what cannot be removed is found out again at each of its samples
                self._cache.drop(sha256)
            self._counters.add(cache_dropped=1)
        mp4s = _parts(samples, stretch, data)
        if _has_bad(mp4s) and copy != data:
            self._counters.add(read_again=1)
            mp4s = _parts(samples, stretch, store.read_range(name, stretch.offset, stretch.size))
        for place, mp4 in zip(stretch.samples, mp4s, strict=True):
            if isinstance(mp4, SampleError):
                _require_same_shard(store, name, samples[place])
        return mp4s

    def _read_so_far(self) -> ReadStats:
        stores = {
            id(source.store): source.store.counters for source in self._sources.values()
        }.values()
        return ReadStats(
            requests=sum(counters.total("requests") for counters in stores),
            retries=sum(counters.total("retries") for counters in stores),
            store_bytes=sum(counters.total("bytes_read") for counters in stores),
            **{
                name: self._counters.total(name)
                for name in ("samples", "cache_bytes", "cache_dropped", "read_again")
            },
        )


def _require_same_shard(store: Store, name: str, sample: Sample) -> None:
    """Tells a bad sample from a shard that somebody replaced: where it should be, there must be the header of its file.

    Raises:
        ShardError: There is another one, or none.
    """
    header = store.read_range(name, sample.mp4_offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        is_same = (member.name, member.size) == (f"{sample.key}.mp4", sample.mp4_size)
    except (tarfile.HeaderError, UnicodeDecodeError):
        is_same = False
    if not is_same:
        raise ShardError(
            f"{store.locate(name)} is not the shard that its index describes (no {sample.key}.mp4 of {sample.mp4_size} bytes at "
            f"{sample.mp4_offset}): it was replaced or damaged; run surgrec-shard verify"
        )


def _parts(samples: Sequence[Sample], stretch: Range, data: bytes) -> list[bytes | SampleError]:
    """What a range holds of each of its samples."""
    found = []
    for place in stretch.samples:
        sample = samples[place]
        start = sample.mp4_offset - stretch.offset
        found.append(_checked(sample, data[start : start + sample.mp4_size]))
    return found


def _has_bad(mp4s: Sequence[bytes | SampleError]) -> bool:
    return any(isinstance(mp4, SampleError) for mp4 in mp4s)


def _checked(sample: Sample, mp4: bytes) -> bytes | SampleError:
    digest = hashlib.sha256(mp4).hexdigest()
    if digest == sample.sha256:
        return mp4
    return SampleError(
        f"{sample.key}: its bytes have the SHA-256 {digest[:12]}, the index says {sample.sha256[:12]}"
    )
