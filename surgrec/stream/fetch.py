"""The bytes of samples: ranges of shards, merged where they are neighbours, read by several threads, checked by digest."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from surgrec.errors import SampleError
from surgrec.shards.corpus import Source
from surgrec.shards.layout import Sample

_GAP_BYTES = 128 << 10
"""Ranges this close are read in one request: reading a gap costs less than asking twice."""


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
    places = sorted(range(len(samples)), key=lambda place: (files[place], samples[place].mp4_offset))
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


class Fetcher:
    """Reads the mp4 of samples. One per process; holds nothing but its threads."""

    def __init__(self, sources: dict[str, Source], threads: int) -> None:
        self._sources = sources
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="fetch")

    def fetch(self, samples: Sequence[Sample]) -> list[bytes | SampleError]:
        """The mp4 of each sample, or the error of one whose bytes are not those of the index.

        Raises:
            StorageError: A shard cannot be read: an outage, never a bad sample.
        """
        found: list[bytes | SampleError] = [b""] * len(samples)
        ranges = plan_ranges(samples)
        for stretch, data in zip(ranges, self._pool.map(self._read, ranges), strict=True):
            for place in stretch.samples:
                start = samples[place].mp4_offset - stretch.offset
                found[place] = _checked(samples[place], data[start : start + samples[place].mp4_size])
        return found

    def _read(self, stretch: Range) -> bytes:
        source = self._sources[stretch.source]
        return source.store.read_range(f"{source.name}/{stretch.shard}", stretch.offset, stretch.size)


def _checked(sample: Sample, mp4: bytes) -> bytes | SampleError:
    digest = hashlib.sha256(mp4).hexdigest()
    if digest == sample.sha256:
        return mp4
    return SampleError(f"{sample.key}: its bytes have the SHA-256 {digest[:12]}, the index says {sample.sha256[:12]}")
