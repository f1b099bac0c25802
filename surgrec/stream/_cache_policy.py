"""The policy of the disk cache: which whole shards it should hold.

Pure functions of the order, which is known in advance.

A cache must not request more bytes from the store than reading sample by sample would. With a
corpus larger than the cache that happens easily: a gigabyte fetched for one clip, and evicted
before the next. The two rules of `next_step` prevent it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64

from surgrec.storage import WholeFile
from surgrec.stream._stream import Stream

_MIN_SHARE_READ = 0.5
"""Least share of a shard's bytes that the run must read to fetch it whole into free room: one long
request for many short ones."""
_MAX_HORIZON = 1 << 20
_PROBE_POSITIONS = 4096


@dataclass(frozen=True, kw_only=True)
class Demand:
    """The run's demand for one shard from some position on."""

    next_use: int
    """Position of its next sample within the horizon, or else the length of the run."""
    horizon_bytes: int
    """Bytes that the horizon reads from the shard."""
    run_bytes: float
    """Bytes that the rest of the run reads from the shard, on average over orders."""


@dataclass(frozen=True, kw_only=True)
class CacheStep:
    """One change of a cache: a shard to fetch, and the shards to drop before."""

    fetch: str
    """SHA-256."""
    drop: tuple[str, ...]
    """SHA-256 of each."""


def next_step(
    demands: Mapping[str, Demand],
    sizes: Mapping[str, int],
    cached: Mapping[str, int],
    limit_bytes: int,
) -> CacheStep | None:
    """Return the next change of a cache, or None if no shard is worth its bytes.

    Shards are fetched by next use, and those with the farthest next use are dropped (Belady 1966).
    Two rules limit the traffic:

    1. Into free room, a shard is fetched if the rest of the run reads at least half of its bytes.
    2. In place of shards that the run demands, it is fetched only if, within the horizon, it saves
       at least its own size plus the savings of the dropped shards.

    Args:
        demands: Demands by SHA-256 of the shard.
        sizes: Bytes of these shards.
        cached: Bytes of each cached shard, by SHA-256. Shards without a demand belong to other runs
            and are dropped first.
        limit_bytes: Most bytes that the cache may hold.
    """
    by_next_use = sorted(demands, key=lambda sha256: (demands[sha256].next_use, sha256))
    free_bytes = limit_bytes - sum(cached.values())

    # Candidates to drop: first the shards of other runs, then those with the farthest next use.
    droppable = [sha256 for sha256 in cached if sha256 not in demands]
    droppable += [sha256 for sha256 in reversed(by_next_use) if sha256 in cached]

    for sha256 in by_next_use:
        size, demand = sizes[sha256], demands[sha256]
        if sha256 in cached or size > limit_bytes or demand.run_bytes < _MIN_SHARE_READ * size:
            continue

        # Drop shards until this one fits.
        drop: list[str] = []
        room_bytes = free_bytes
        for candidate in droppable:
            if room_bytes >= size:
                break
            drop.append(candidate)
            room_bytes += cached[candidate]

        lost_bytes = [demands[dropped].horizon_bytes for dropped in drop if dropped in demands]
        if not lost_bytes or demand.horizon_bytes - sum(lost_bytes) >= size:
            return CacheStep(fetch=sha256, drop=tuple(drop))

    return None


class ShardDemands:
    """The demands for all shards at any position of a run.

    Args:
        stream: The stream of the run.
        positions: Number of positions of the whole run.
        slots: Slots of each global batch that this machine reads, as (first, end).
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

        # Shard number and mp4 bytes of every sample, one pair of arrays per stratum.
        self._shard, self._bytes = [], []
        file_numbers = {file.name: number for number, file in enumerate(self.files)}
        for stratum, rows in zip(stream.order.strata, stream.rows, strict=True):
            index = stream.sources[stratum.source].index
            names = index.column("shard").dictionary_encode()
            number_of_code = np.array(
                [file_numbers[f"{stratum.source}/{name}"] for name in names.dictionary.to_pylist()],
                dtype=np.int32,
            )
            self._shard.append(number_of_code[names.indices.to_numpy()[rows]])
            self._bytes.append(index.column("mp4_size").to_numpy()[rows])

        self._bytes_per_epoch = np.stack(
            [
                self._sum_by_shard(shard, nbytes)
                for shard, nbytes in zip(self._shard, self._bytes, strict=True)
            ]
        )

    def horizon(self, position: int, nbytes: int) -> int:
        """Return the end of the look-ahead: the samples up to there have `nbytes` bytes.

        Samples beyond it would not fit into a cache of `nbytes` anyway. The end is estimated from
        the next positions.
        """
        probe = self._positions_of_this_machine(position, position + _PROBE_POSITIONS)
        draws = self._stream.order(probe)
        probe_bytes = sum(
            int(self._bytes[stratum][sample])
            for stratum, sample in zip(draws.stratum, draws.sample, strict=True)
        )

        length = min(int(_PROBE_POSITIONS * nbytes / max(1, probe_bytes)), _MAX_HORIZON)
        return min(position + max(self._global_batch, length), self._positions)

    def between(self, position: int, end: int) -> dict[str, Demand]:
        """Return the demand for each shard that the rest of the run reads, by SHA-256.

        Args:
            position: Position that reading has reached.
            end: End of the horizon.
        """
        # Within the horizon: look up the shard of every draw, and its first position.
        positions = self._positions_of_this_machine(position, end)
        draws = self._stream.order(positions)
        next_use = np.full(len(self.files), self._positions, dtype=np.int64)
        horizon_bytes = np.zeros(len(self.files))
        for stratum in np.unique(draws.stratum):
            is_drawn = draws.stratum == stratum
            shard = self._shard[stratum][draws.sample[is_drawn]]
            np.minimum.at(next_use, shard, positions[is_drawn])
            horizon_bytes += self._sum_by_shard(shard, self._bytes[stratum][draws.sample[is_drawn]])

        # Beyond it, an average will do: epochs of each stratum that are left, times the bytes of an
        # epoch by shard, times this machine's share of the slots.
        order = self._stream.order
        remaining_draws = order.drawn(self._positions) - order.drawn(position)
        remaining_epochs = remaining_draws / np.maximum(
            [stratum.size for stratum in order.strata], 1
        )
        share_of_slots = (self._slots[1] - self._slots[0]) / self._global_batch
        run_bytes = share_of_slots * (remaining_epochs @ self._bytes_per_epoch)

        by_file = zip(self.files, next_use, horizon_bytes, run_bytes, strict=True)
        return {
            file.sha256: Demand(
                next_use=int(first), horizon_bytes=int(near_bytes), run_bytes=float(all_bytes)
            )
            for file, first, near_bytes, all_bytes in by_file
            if all_bytes > 0
        }

    def _positions_of_this_machine(self, position: int, end: int) -> Int64[np.ndarray, " _"]:
        """Return the positions in [position, end) whose slots this machine's ranks read."""
        positions = np.arange(position, min(end, self._positions), dtype=np.int64)
        slot = positions % self._global_batch
        return positions[(slot >= self._slots[0]) & (slot < self._slots[1])]

    def _sum_by_shard(
        self, shard: Int32[np.ndarray, " n"], nbytes: Int64[np.ndarray, " n"]
    ) -> Float64[np.ndarray, " f"]:
        return np.bincount(shard, weights=nbytes, minlength=len(self.files))
