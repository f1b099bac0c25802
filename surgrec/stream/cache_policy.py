"""Which whole shards a disk cache should hold. Pure: the order is known, so what will be read, and when, is known too.

A cache must not ask the store for more than reading sample by sample would. With a corpus that does not fit, that is easily lost: a
gigabyte fetched for one clip, and thrown away before the next. Hence the two rules of `next_step`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from surgrec.storage import WholeFile
from surgrec.stream.stream import Stream

_WORTH = 0.5
"""Share of a shard's bytes that must be read of it to fetch it whole into free room: few long requests for very many short ones."""
_MOST_POSITIONS = 1 << 20
_SAMPLED_POSITIONS = 4096


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the run wants of one shard from some position on."""

    next_use: int
    """Position of its next sample; as many positions as the run has, if none comes within the horizon."""
    horizon_bytes: int
    """Of samples that the horizon reads from it."""
    run_bytes: float
    """Of samples that the rest of the run reads from it, on average over orders."""


@dataclass(frozen=True, kw_only=True)
class CacheStep:
    """One shard to bring in, and those that make room for it first."""

    fetch: str
    """SHA-256."""
    drop: tuple[str, ...]


def next_step(
    needs: Mapping[str, Demand],
    sizes: Mapping[str, int],
    cached: Mapping[str, int],
    limit_bytes: int,
) -> CacheStep | None:
    """The next thing to do for a cache; None where nothing is worth its bytes.

    Shards come in by next use, and those whose next use is farthest make room (Belady 1966). Into free room a shard is fetched if
    the rest of the run reads at least half of its bytes. Where others that are wanted must go, it is only if within the horizon it
    spares more reading than its own size and what they would have spared.

    Args:
        needs: Of shards, by SHA-256.
        sizes: Bytes of these shards.
        cached: Bytes of what is there, by SHA-256; what has no need is of another run.
        limit_bytes: Most bytes that may be there at once.
    """
    by_next_use = sorted(needs, key=lambda sha256: (needs[sha256].next_use, sha256))
    leaving = [sha256 for sha256 in cached if sha256 not in needs]
    leaving += [sha256 for sha256 in reversed(by_next_use) if sha256 in cached]
    room = limit_bytes - sum(cached.values())
    for wanted in by_next_use:
        size, need = sizes[wanted], needs[wanted]
        if wanted in cached or size > limit_bytes or need.run_bytes < _WORTH * size:
            continue
        dropped: list[str] = []
        made = room
        for candidate in leaving:
            if made >= size:
                break
            dropped.append(candidate)
            made += cached[candidate]
        lost = [needs[sha256].horizon_bytes for sha256 in dropped if sha256 in needs]
        if not lost or need.horizon_bytes - sum(lost) >= size:
            return CacheStep(fetch=wanted, drop=tuple(dropped))
    return None


class ShardDemands:
    """Looks ahead in the order of a run.

    Args:
        stream: The order, and what it draws from.
        positions: Of the whole run.
        slots: Part of each global batch that is read on this machine, as (first, end) of `global_batch`.
        global_batch: Positions per step.
    """

    def __init__(
        self, stream: Stream, *, positions: int, slots: tuple[int, int], global_batch: int
    ) -> None:
        self._stream = stream
        self._positions, self._slots, self._global_batch = positions, slots, global_batch
        self.files = [
            WholeFile(
                store=source.store,
                name=f"{source.name}/{shard.name}",
                bytes=shard.bytes,
                sha256=shard.sha256,
            )
            for source in stream.sources.values()
            for shard in source.entry.shards
        ]
        numbers = {file.name: number for number, file in enumerate(self.files)}
        self._shard, self._bytes = [], []
        for leaf, rows in zip(stream.order.leaves, stream.rows, strict=True):
            index = stream.sources[leaf.source].index
            names = index.column("shard").dictionary_encode()
            by_code = np.array(
                [numbers[f"{leaf.source}/{name}"] for name in names.dictionary.to_pylist()],
                dtype=np.int32,
            )
            self._shard.append(by_code[names.indices.to_numpy()[rows]])
            self._bytes.append(index.column("mp4_size").to_numpy()[rows])
        self._bytes_per_pass = np.stack(
            [self._by_shard(*pair) for pair in zip(self._shard, self._bytes, strict=True)]
        )

    def horizon(self, position: int, nbytes: int) -> int:
        """The position up to which the samples from `position` on have so many bytes: what is beyond would not fit anyway."""
        drawn = self._stream.order(self._own(position, position + _SAMPLED_POSITIONS))
        read = sum(
            int(self._bytes[leaf][sample])
            for leaf, sample in zip(drawn.leaf, drawn.sample, strict=True)
        )
        length = int(_SAMPLED_POSITIONS * nbytes / max(1, read))
        return min(
            position + max(self._global_batch, min(length, _MOST_POSITIONS)), self._positions
        )

    def between(self, position: int, end: int) -> dict[str, Demand]:
        """The needs at `position` of a look ahead up to `end`, by SHA-256, of all shards that the rest of the run reads."""
        ahead = self._own(position, end)
        drawn = self._stream.order(ahead)
        next_use = np.full(len(self.files), self._positions, dtype=np.int64)
        horizon_bytes = np.zeros(len(self.files))
        for leaf in np.unique(drawn.leaf):
            at = drawn.leaf == leaf
            shard, nbytes = self._shard[leaf][drawn.sample[at]], self._bytes[leaf][drawn.sample[at]]
            np.minimum.at(next_use, shard, ahead[at])
            horizon_bytes += self._by_shard(shard, nbytes)
        order = self._stream.order
        remaining = (order.drawn(self._positions) - order.drawn(position)) / np.maximum(
            [leaf.size for leaf in order.leaves], 1
        )
        share = (self._slots[1] - self._slots[0]) / self._global_batch
        run_bytes = share * (remaining @ self._bytes_per_pass)
        return {
            file.sha256: Demand(
                next_use=int(first), horizon_bytes=int(soon), run_bytes=float(later)
            )
            for file, first, soon, later in zip(
                self.files, next_use, horizon_bytes, run_bytes, strict=True
            )
            if later > 0
        }

    def _own(self, position: int, end: int) -> Int64[np.ndarray, " _"]:
        """The positions of this machine's ranks."""
        positions = np.arange(position, min(end, self._positions), dtype=np.int64)
        slot = positions % self._global_batch
        return positions[(slot >= self._slots[0]) & (slot < self._slots[1])]

    def _by_shard(
        self, shard: Int32[np.ndarray, " n"], nbytes: Int64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " f"]:
        return np.bincount(shard, weights=nbytes, minlength=len(self.files))
