"""Fetching the bytes of samples: coalesced ranges of shards, read in threads, and checked."""

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
from surgrec.shards.layout import checksum
from surgrec.storage import Counters, DiskCache, Store

_GAP_BYTES = 128 << 10
"""Gap up to which ranges are read in one request: reading it costs less than a second request."""

_QUICK_S = 0.002
"""Mean seconds of a read below which the bytes come from this machine's memory, or nearly so."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """A byte range of one shard that holds one or several of the requested samples."""

    source: str
    shard: str
    offset: int
    size: int
    samples: tuple[int, ...]
    """Indices into the list of requested samples."""

    @property
    def end(self) -> int:
        """Offset behind the last byte."""
        return self.offset + self.size


def coalesce_ranges(samples: Sequence[Sample], gap_bytes: int = _GAP_BYTES) -> list[Range]:
    """Return the fewest reads that cover the mp4 of every sample.

    Args:
        samples: Requested samples; the same one may come more than once.
        gap_bytes: Most unrequested bytes between two samples of one read.

    Returns:
        Ranges that are sorted by shard and offset, and do not overlap.
    """
    in_shard_order = sorted(
        range(len(samples)),
        key=lambda index: (
            samples[index].clip.source,
            samples[index].shard,
            samples[index].mp4_offset,
        ),
    )

    ranges: list[Range] = []
    for index in in_shard_order:
        sample = samples[index]
        last = ranges[-1] if ranges else None
        is_near = (
            last is not None
            and (last.source, last.shard) == (sample.clip.source, sample.shard)
            and sample.mp4_offset <= last.end + gap_bytes
        )

        # Extend the last range, or begin one. A sample inside the last range leaves its end as is.
        if last is not None and is_near:
            end = max(last.end, sample.mp4_offset + sample.mp4_size)
            ranges[-1] = Range(
                source=last.source,
                shard=last.shard,
                offset=last.offset,
                size=end - last.offset,
                samples=(*last.samples, index),
            )
        else:
            ranges.append(
                Range(
                    source=sample.clip.source,
                    shard=sample.shard,
                    offset=sample.mp4_offset,
                    size=sample.mp4_size,
                    samples=(index,),
                )
            )
    return ranges


@dataclass(frozen=True, kw_only=True)
class ReadStats:
    """Counts and times of reading, in one process or several. They can be added and subtracted."""

    samples: int = 0
    requests: int = 0
    """Requests to stores, repeated ones included."""
    retries: int = 0
    """Requests that were repeated."""
    store_bytes: int = 0
    """Bytes read from stores."""
    cache_bytes: int = 0
    """Bytes read from whole shards on the local disk."""
    cache_dropped: int = 0
    """Cached shards that held wrong bytes."""
    read_again: int = 0
    """Ranges with wrong bytes that were requested a second time."""
    filled: int = 0
    """Whole shards added to the cache."""
    filled_bytes: int = 0
    """Bytes of the shards added to the cache."""
    evicted: int = 0
    """Whole shards dropped from the cache to make room."""
    fill_failures: int = 0
    """Shards that could not be added to the cache."""
    fetch_s: float = 0.0
    """Seconds from the request of a batch's bytes to their arrival."""
    fetch_wait_s: float = 0.0
    """Seconds that decoding waited for bytes."""
    decode_s: float = 0.0
    """Seconds from a batch's bytes to its frames."""

    def __add__(self, other: "ReadStats") -> "ReadStats":
        return ReadStats(
            **{name: value + getattr(other, name) for name, value in vars(self).items()}
        )

    def __sub__(self, other: "ReadStats") -> "ReadStats":
        return ReadStats(
            **{name: value - getattr(other, name) for name, value in vars(self).items()}
        )


class Fetcher:
    """Reads the mp4 files of samples. Each process has one, with its own threads and counts.

    Args:
        sources: Sources by name.
        threads: Ranges that are read at the same time.
        cache: Cache of whole shards; None reads from the stores only.

    Example:
        >>> fetcher = Fetcher(stream.sources, threads=8)
        >>> mp4s = fetcher.fetch([stream.sample(draw) for draw in stream.draws(positions)])
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
        """Return the mp4 of each sample, or its error if the bytes do not match the index.

        Raises:
            StorageError: A shard cannot be read. This is an outage, never a bad sample.
            ShardError: A shard is not the one that the index describes.
        """
        # Read from quick stores in this thread: waking another one and waiting for it takes longer
        # than such a read.
        ranges = coalesce_ranges(samples)
        run = map if self._is_quick else self._pool.map
        reads = run(partial(self._timed_read, samples), ranges)

        mp4_of: list[bytes | SampleError] = [b""] * len(samples)
        durations_s = []
        for byte_range, (mp4s, seconds) in zip(ranges, reads, strict=True):
            durations_s.append(seconds)
            for index, mp4 in zip(byte_range.samples, mp4s, strict=True):
                mp4_of[index] = mp4

        if durations_s:
            self._is_quick = statistics.fmean(durations_s) < _QUICK_S
        self._counters.add(samples=len(samples))
        return mp4_of

    def take_read_stats(self) -> ReadStats:
        """Return the counts since the last call."""
        with self._taking:
            before, self._taken = self._taken, self._read_so_far()
            return self._taken - before

    def _timed_read(
        self, samples: Sequence[Sample], byte_range: Range
    ) -> tuple[list[bytes | SampleError], float]:
        began = time.perf_counter()
        return self._read(samples, byte_range), time.perf_counter() - began

    def _read(self, samples: Sequence[Sample], byte_range: Range) -> list[bytes | SampleError]:
        """Read the samples of a range from the cache or the store.

        Wrong bytes are requested once more from the store.
        """
        name = f"{byte_range.source}/{byte_range.shard}"
        store = self._sources[byte_range.source].store
        sha256 = self._sha256.get((byte_range.source, byte_range.shard))

        # The cache first. Its bytes count only if every sample in them is right.
        cached = None
        if self._cache and sha256:
            cached = self._cache.read_range(sha256, byte_range.offset, byte_range.size)
        if cached is not None:
            mp4s = _split(samples, byte_range, cached)
            if not _has_bad(mp4s):
                self._counters.add(cache_bytes=len(cached))
                return mp4s

        # Then the store. If it has other bytes than the cache, the cached shard is wrong.
        data = store.read_range(name, byte_range.offset, byte_range.size)
        if self._cache and sha256 and cached not in (None, data):
            with suppress(CacheError):  # a shard that stays is found wrong again at its next sample
                self._cache.drop(sha256)
            self._counters.add(cache_dropped=1)

        # A disk or a network may have changed bytes on the way, so read wrong ones again. Cache and
        # store that agree on wrong bytes need no third opinion: the corpus itself is bad there.
        mp4s = _split(samples, byte_range, data)
        if _has_bad(mp4s) and cached != data:
            self._counters.add(read_again=1)
            data = store.read_range(name, byte_range.offset, byte_range.size)
            mp4s = _split(samples, byte_range, data)

        for index, mp4 in zip(byte_range.samples, mp4s, strict=True):
            if isinstance(mp4, SampleError):
                _require_same_shard(store, name, samples[index])
        return mp4s

    def _read_so_far(self) -> ReadStats:
        """Return the counts since the start.

        Sources of one store share its counters, so each store counts once.
        """
        stores = {
            id(source.store): source.store.counters for source in self._sources.values()
        }.values()

        return ReadStats(
            requests=sum(counters.total("requests") for counters in stores),
            retries=sum(counters.total("retries") for counters in stores),
            store_bytes=sum(counters.total("bytes_read") for counters in stores),
            samples=self._counters.total("samples"),
            cache_bytes=self._counters.total("cache_bytes"),
            cache_dropped=self._counters.total("cache_dropped"),
            read_again=self._counters.total("read_again"),
        )


def _require_same_shard(store: Store, name: str, sample: Sample) -> None:
    """Distinguish a bad sample from a replaced shard.

    In the right shard, the tar header of the sample's mp4 precedes its bytes.

    Raises:
        ShardError: The header is missing or belongs to another file.
    """
    header = store.read_range(name, sample.mp4_offset - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
    try:
        member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
        is_same = (member.name, member.size) == (f"{sample.key}.mp4", sample.mp4_size)
    except (tarfile.HeaderError, UnicodeDecodeError):
        is_same = False

    if not is_same:
        raise ShardError(
            f"{store.locate(name)} was replaced or damaged after its index was written (no "
            f"{sample.key}.mp4 of {sample.mp4_size} bytes at byte {sample.mp4_offset}); run "
            "surgrec-shard verify"
        )


def _split(samples: Sequence[Sample], byte_range: Range, data: bytes) -> list[bytes | SampleError]:
    """Cut the bytes of a range into its samples, and check each."""
    mp4s = []
    for index in byte_range.samples:
        sample = samples[index]
        start = sample.mp4_offset - byte_range.offset
        mp4s.append(_check(sample, data[start : start + sample.mp4_size]))
    return mp4s


def _has_bad(mp4s: Sequence[bytes | SampleError]) -> bool:
    return any(isinstance(mp4, SampleError) for mp4 in mp4s)


def _check(sample: Sample, mp4: bytes) -> bytes | SampleError:
    """Check the bytes of a sample by its checksum, or by SHA-256 if the index has no other."""
    if sample.xxh3_64 is not None:
        found = checksum(mp4)
        if found == sample.xxh3_64:
            return mp4
        return SampleError(
            f"{sample.key}: its bytes have the XXH3 checksum {found:016x}, "
            f"but the index lists {sample.xxh3_64:016x}"
        )

    digest = hashlib.sha256(mp4).hexdigest()
    if digest == sample.sha256:
        return mp4
    return SampleError(
        f"{sample.key}: its bytes have the SHA-256 {digest[:12]}, "
        f"but the index lists {sample.sha256[:12]}"
    )
