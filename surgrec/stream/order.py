"""The order: a pure function from a position of the run to a source, one of its samples, and the source's epoch.

It knows nothing of ranks, workers or history, so the stream is the same for every world size and after every resume.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from jaxtyping import Int64, UInt64

from surgrec.errors import ConfigError
from surgrec.stream.mixture import Leaf, Mixture, block_counts
from surgrec.stream.permutation import key_of, mix, permute
from surgrec.stream.shuffle import shuffled_sample

_MIXING, _SHUFFLING, _SUBSTITUTE, _SAMPLE = 11, 12, 13, 14


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What stands at some positions; all arrays have one entry per position."""

    leaf: Int64[np.ndarray, " n"]
    """Index into `Order.leaves`."""
    sample: Int64[np.ndarray, " n"]
    """Sample of the leaf, in [0, size)."""
    epoch: Int64[np.ndarray, " n"]
    """How many times the whole source was drawn before."""


class Order:
    """`order(positions)` gives the draws of a run."""

    def __init__(self, leaves: Sequence[Leaf], mixture: Mixture, seed: int) -> None:
        self.leaves = tuple(sorted(leaves, key=lambda leaf: leaf.source))
        self.mixture = mixture
        self.seed = seed
        self.counts = block_counts(self.leaves, mixture)
        self._ends = np.cumsum(self.counts)
        self._sizes = np.array([leaf.size for leaf in self.leaves], dtype=np.int64)
        self._keys = np.array([key_of(leaf.source) for leaf in self.leaves], dtype=np.uint64)

    def __call__(self, positions: Int64[np.ndarray, " n"]) -> Draws:
        """What stands at these positions of the run, in any order and from any start."""
        leaf, draw = self._mixed(positions)
        size = self._sizes[leaf]
        epoch = draw // size
        sample = shuffled_sample(
            draw % size,
            size,
            mix(self.seed, _SHUFFLING, self._keys[leaf], epoch),
            block=self.mixture.shuffle_block,
            window=self.mixture.shuffle_window,
        )
        return Draws(leaf=leaf, sample=sample, epoch=epoch)

    def substitutes(self, position: int) -> Iterator[int]:
        """All other samples of the leaf at a position, in the order in which they stand in there for a bad one."""
        drawn = self(np.array([position], dtype=np.int64))
        size, bad = int(self._sizes[drawn.leaf[0]]), int(drawn.sample[0])
        key = mix(self.seed, _SUBSTITUTE, position)
        for attempt in range(size - 1):
            yield (bad + 1 + int(permute(attempt, size - 1, key))) % size

    def consumed(self, positions: int) -> dict[str, int]:
        """How many samples of each source the first `positions` positions hold."""
        blocks, rest = divmod(positions, self.mixture.block)
        start = blocks * self.mixture.block
        tail, _ = self._mixed(np.arange(start, start + rest, dtype=np.int64))
        totals = blocks * self.counts + np.bincount(tail, minlength=len(self.leaves))
        return {leaf.source: int(total) for leaf, total in zip(self.leaves, totals, strict=True)}

    def identity(self) -> dict[str, object]:
        """Everything the order depends on, as JSON. Two runs with equal identities see the same samples."""
        return {
            "seed": self.seed,
            "mixture": asdict(self.mixture),
            "sources": {
                leaf.source: {"digest": leaf.digest, "rows": leaf.rows, "samples": leaf.size} for leaf in self.leaves
            },
        }

    def _mixed(self, positions: Int64[np.ndarray, " n"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The leaf at each position, and which draw of that leaf it is since position 0."""
        block, slot = np.divmod(positions, self.mixture.block)
        blocks, inverse = np.unique(block, return_inverse=True)
        slots = np.arange(self.mixture.block, dtype=np.int64)
        dealt = permute(slots[None, :], self.mixture.block, mix(self.seed, _MIXING, blocks)[:, None])
        leaves = np.searchsorted(self._ends, dealt.astype(np.int64), side="right").astype(np.int64)
        by_leaf = np.argsort(leaves, axis=1, kind="stable")
        firsts = (self._ends - self.counts)[np.take_along_axis(leaves, by_leaf, axis=1)]
        ordinal = np.empty_like(leaves)
        np.put_along_axis(ordinal, by_leaf, slots[None, :] - firsts, axis=1)
        leaf = leaves[inverse, slot]
        return leaf, block * self.counts[leaf] + ordinal[inverse, slot]


def rank_positions(step: int, *, global_batch: int, rank: int, world_size: int) -> Int64[np.ndarray, " n"]:
    """The positions one rank trains on at one step: its slice of [step * global_batch, (step + 1) * global_batch).

    Raises:
        ConfigError: The world size does not divide the global batch, or the rank is not in the world.
    """
    if global_batch < 1 or world_size < 1:
        raise ConfigError(f"global_batch {global_batch} and world size {world_size} must be at least 1")
    if global_batch % world_size:
        raise ConfigError(
            f"global_batch {global_batch} cannot be shared by {world_size} ranks: choose a world size that divides it"
        )
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is not one of the {world_size} ranks 0..{world_size - 1}")
    size = global_batch // world_size
    first = step * global_batch + rank * size
    return np.arange(first, first + size, dtype=np.int64)


def sample_key(seed: int, position: int, view: int = 0) -> UInt64[np.ndarray, ""]:
    """The key of everything random about a sample (clip start, crop, flip): never of the worker or the rank."""
    return mix(seed, _SAMPLE, position, view)
