"""The cost of a build: processor time, wall time, bytes, requests, money. Pure arithmetic."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from surgrec.ranges import Range, check_ranges

_GB = 1e9
_UPLOADED_AT_ONCE = 8 << 20
"""Bytes of one request of an upload; boto3's default."""
_TABLES = 4
"""Files of a source beside its shards, among them `corpus.json`."""
MOST_DECODERS = 8
"""Decoders of one video: the encoder behind them has one thread."""
ENCODER_CORE_S_PER_MEGAPIXEL = 0.059
"""Seconds of one core per 10^6 stored pixels: 3.3 s for a minute of 456 x 256 pixels at 8 frames
per second (`benchmarks/build.py`, two virtual Xeon cores, default quality and effort)."""
Price = Annotated[float, Range(0, 10**6)]


@dataclass(frozen=True, kw_only=True)
class Prices:
    """Prices in any one currency; 0: not given, and left out of the bill."""

    core_hour: Price = 0.0
    """One hour of one core."""
    gb_month: Price = 0.0
    """Storage of 10^9 bytes for a month."""
    thousand_puts: Price = 0.0
    """1,000 writing requests."""
    thousand_gets: Price = 0.0
    """1,000 reading requests."""
    gb_out: Price = 0.0
    """10^9 bytes read out of the store."""

    def __post_init__(self) -> None:
        check_ranges(self, context="prices: ")


@dataclass(frozen=True, kw_only=True)
class SourceWork:
    """The videos of one source, and the cost of a second of them."""

    source: str
    videos: int
    hours: float
    longest_h: float
    """Longest video, hours."""
    bytes_in: int
    """Size of the originals; 0: unknown."""
    cores: float
    """Seconds of one core per second of video."""
    encoder_cores: float
    """Those of them that the encoder needs; it has one core per video."""
    bytes_per_s: float
    """Bytes of clips per second of video."""
    basis: str
    """Where the last three come from."""

    @property
    def core_hours(self) -> float:
        """Processor time of the build of this source, hours of one core."""
        return self.hours * self.cores

    def tail_hours(self, cores: int, cores_per_node: int) -> float:
        """Return how much longer all cores take if the longest video is begun last, hours.

        Its decoders are on one node, and the encoder behind them has one core.
        """
        decoders = min(cores_per_node, MOST_DECODERS)
        alone = max(min(self.encoder_cores, self.cores), self.cores / decoders)
        return self.longest_h * (alone - self.cores / cores)

    @property
    def bytes_out(self) -> float:
        """Size of its shards, bytes."""
        return self.hours * 3600 * self.bytes_per_s


@dataclass(frozen=True, kw_only=True)
class Bill:
    """The cost of a build of all sources."""

    core_hours: float
    wall_hours: float
    """On all nodes, if all of their cores are busy."""
    tail_hours: float
    """About so much later at most, because a long video keeps few cores busy at the end."""
    gb_read: float
    """Originals are read twice: for their digest, and to decode them. 0: unknown."""
    gb_written: float
    clips: int
    shards: int
    puts: int
    """Writing requests of the upload."""
    gets_per_epoch: int
    """Most reading requests of one epoch of training: one per clip. Neighbors share requests."""
    prices: dict[str, float]
    """Amount by item; items without a price are absent."""


def bill(
    works: Sequence[SourceWork],
    *,
    nodes: int,
    cores_per_node: int,
    clip_s: float,
    shard_bytes: int,
    prices: Prices,
    epochs: float = 0.0,
) -> Bill:
    """Return the cost of a build of these sources.

    Args:
        works: All sources.
        nodes: Machines that build parts of the corpus at the same time.
        cores_per_node: Cores of each machine.
        clip_s: Seconds of a clip.
        shard_bytes: Largest shard, bytes.
        prices: Prices, as far as they are known.
        epochs: Passes of a training over the corpus, whose reads are part of the price.
    """
    core_hours = sum(work.core_hours for work in works)
    cores = nodes * cores_per_node
    shards = [math.ceil(work.bytes_out / shard_bytes) for work in works]
    uploads = sum(math.ceil(work.bytes_out / _UPLOADED_AT_ONCE) for work in works)
    # A shard is one upload with its beginning and end, and has a file of offsets.
    puts = uploads + 3 * sum(shards) + _TABLES * len(works)
    clips = sum(math.ceil(work.hours * 3600 / clip_s) for work in works)
    gb_written = sum(work.bytes_out for work in works) / _GB

    amounts = {
        "processor time": core_hours * prices.core_hour,
        "storage for a month": gb_written * prices.gb_month,
        "writing requests": puts / 1000 * prices.thousand_puts,
        "reading requests of the training": clips * epochs / 1000 * prices.thousand_gets,
        "bytes read by the training": gb_written * epochs * prices.gb_out,
    }
    return Bill(
        core_hours=core_hours,
        wall_hours=core_hours / cores,
        tail_hours=max(work.tail_hours(cores, cores_per_node) for work in works),
        gb_read=2 * sum(work.bytes_in for work in works) / _GB,
        gb_written=gb_written,
        clips=clips,
        shards=sum(shards),
        puts=puts,
        gets_per_epoch=clips,
        prices={item: amount for item, amount in amounts.items() if amount},
    )
