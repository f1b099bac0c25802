"""The order: a pure function from a position of the run to a leaf of the mixture, one of its samples, and the leaf's epoch.

It knows nothing of ranks, workers or history, so the stream is the same for every world size and after every resume.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.stream.mixture import Mixture, phases
from surgrec.stream.permutation import hash_int, hash_words, key_of, permute
from surgrec.stream.shares import Leaf, block_counts
from surgrec.stream.shuffle import shuffled_sample

_MIXING, _SHUFFLING, _SUBSTITUTE, _SAMPLE = 11, 12, 13, 14
_BLOCKS_KEPT = 64
_FIXED = ("splits", "min_duration_s", "block", "shuffle_block", "shuffle_window")
"""Fields of the mixture that the order depends on from its first position on."""


@dataclass(frozen=True, kw_only=True)
class DrawArrays:
    """What stands at some positions; all arrays have one entry per position."""

    leaf: Int64[np.ndarray, " n"]
    """Index into `Order.leaves`."""
    sample: Int64[np.ndarray, " n"]
    """Sample of the leaf, in [0, size)."""
    epoch: Int64[np.ndarray, " n"]
    """How many times the whole leaf was drawn before."""


class Order:
    """`order(positions)` gives the draws of a run."""

    def __init__(self, leaves: Sequence[Leaf], mixture: Mixture, seed: int) -> None:
        self.leaves = tuple(sorted(leaves, key=lambda leaf: leaf.name))
        self.mixture = mixture
        self.seed = seed
        self._phases = phases(mixture)
        self.counts = np.stack(
            [block_counts(self.leaves, mixture, phase) for phase in self._phases]
        )
        """Positions of each block, by phase and leaf."""
        self._starts = np.array([phase.start_block for phase in self._phases], dtype=np.int64)
        drawn = np.diff(self._starts)[:, None] * self.counts[:-1]
        self._drawn_before = np.cumsum(np.vstack([np.zeros_like(self.counts[:1]), drawn]), axis=0)
        self._ends = np.cumsum(self.counts, axis=1)
        self._slots = np.arange(mixture.block, dtype=np.int64)
        self._deal = np.stack(
            [np.repeat(np.arange(len(self.leaves)), counts) for counts in self.counts]
        )
        self._sizes = np.array([leaf.size for leaf in self.leaves], dtype=np.int64)
        self._keys = np.array([key_of(leaf.name) for leaf in self.leaves], dtype=np.uint64)
        self._dealt = lru_cache(_BLOCKS_KEPT)(self._deal_block)

    def __call__(self, positions: Int64[np.ndarray, " n"]) -> DrawArrays:
        """What stands at these positions of the run, in any order and from any start."""
        leaf, draw = self._mixed(positions)
        size = self._sizes[leaf]
        epoch = draw // size
        sample = shuffled_sample(
            draw % size,
            size,
            hash_words(self.seed, _SHUFFLING, self._keys[leaf], epoch),
            block=self.mixture.shuffle_block,
            window=self.mixture.shuffle_window,
        )
        return DrawArrays(leaf=leaf, sample=sample, epoch=epoch)

    def substitutes(self, position: int) -> Iterator[int]:
        """All other samples of the leaf at a position, in the order in which they stand in there for a bad one."""
        drawn = self(np.array([position], dtype=np.int64))
        size, bad = int(self._sizes[drawn.leaf[0]]), int(drawn.sample[0])
        key = hash_words(self.seed, _SUBSTITUTE, position)
        for attempt in range(size - 1):
            yield (bad + 1 + int(permute(attempt, size - 1, key))) % size

    def drawn(self, positions: int) -> Int64[np.ndarray, " leaves"]:
        """How many samples of each leaf the first `positions` positions hold."""
        block, rest = divmod(positions, self.mixture.block)
        phase = self._phase_of(np.array([block]))[0]
        tail, _ = self._mixed(np.arange(positions - rest, positions, dtype=np.int64))
        whole = self._drawn_before[phase] + (block - self._starts[phase]) * self.counts[phase]
        return np.asarray(whole + np.bincount(tail, minlength=len(self.leaves)))

    def consumed(self, positions: int) -> dict[str, int]:
        """How many samples of each source the first `positions` positions hold."""
        return self._by_source(self.drawn(positions))

    def identity(self, positions: int | None = None) -> dict[str, object]:
        """Everything that the order depends on, as JSON. Two runs with equal identities see the same samples.

        Args:
            positions: Up to here, so that later stages may differ; None for the whole, endless run.
        """
        reached = [
            phase
            for phase in self._phases
            if positions is None or phase.start_block * self.mixture.block < positions
        ]
        fixed = {name: getattr(self.mixture, name) for name in _FIXED}
        changing = [
            {
                "start_block": phase.start_block,
                "levels": [asdict(level) for level in phase.levels],
                "weights": dict(phase.weights),
            }
            for phase in reached or self._phases[:1]
        ]
        sizes = self._by_source(self._sizes)
        sources = {
            leaf.source: {"digest": leaf.digest, "rows": leaf.rows, "samples": sizes[leaf.source]}
            for leaf in self.leaves
        }
        groups = {
            leaf.name: {"rows": leaf.own_rows, "samples": leaf.size}
            for leaf in self.leaves
            if leaf.values
        }
        mixture = {**fixed, "phases": changing}
        return {"seed": self.seed, "mixture": mixture, "sources": sources, "groups": groups}

    def _by_source(self, counts: Int64[np.ndarray, " leaves"]) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for leaf, count in zip(self.leaves, counts.tolist(), strict=True):
            totals[leaf.source] += count
        return dict(totals)

    def _phase_of(self, blocks: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        return np.searchsorted(self._starts, blocks, side="right").astype(np.int64) - 1

    def _mixed(
        self, positions: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The leaf at each position, and which draw of that leaf it is since position 0."""
        block, slot = np.divmod(positions, self.mixture.block)
        blocks, inverse = np.unique(block, return_inverse=True)
        if len(blocks) == 1:  # a batch: its neighbors are of the same block
            leaf, draw = self._dealt(int(blocks[0]))
            return leaf[slot], draw[slot]
        leaves, draws = self._deal_blocks(blocks)
        return leaves[inverse, slot], draws[inverse, slot]

    def _deal_block(
        self, block: int
    ) -> tuple[Int64[np.ndarray, " slots"], Int64[np.ndarray, " slots"]]:
        leaves, draws = self._deal_blocks(np.array([block], dtype=np.int64))
        return leaves[0], draws[0]

    def _deal_blocks(
        self, blocks: Int64[np.ndarray, " b"]
    ) -> tuple[Int64[np.ndarray, "b slots"], Int64[np.ndarray, "b slots"]]:
        """The same for all positions of these blocks."""
        phase = self._phase_of(blocks)
        dealt = permute(
            self._slots[None, :],
            self.mixture.block,
            hash_words(self.seed, _MIXING, blocks)[:, None],
        )
        leaves = self._deal[phase[:, None], dealt.astype(np.int64)]
        by_leaf = np.argsort(leaves, axis=1, kind="stable")
        firsts = (self._ends - self.counts)[
            phase[:, None], np.take_along_axis(leaves, by_leaf, axis=1)
        ]
        ordinal = np.empty_like(leaves)
        np.put_along_axis(ordinal, by_leaf, self._slots[None, :] - firsts, axis=1)
        before = (
            self._drawn_before[phase] + (blocks - self._starts[phase])[:, None] * self.counts[phase]
        )
        return leaves, np.take_along_axis(before, leaves, axis=1) + ordinal


def rank_positions(
    step: int, *, global_batch: int, rank: int, world_size: int
) -> Int64[np.ndarray, " n"]:
    """The positions one rank trains on at one step: its slice of [step * global_batch, (step + 1) * global_batch).

    Raises:
        ConfigError: The world size does not divide the global batch, or the rank is not in the world.
    """
    if global_batch < 1 or world_size < 1:
        raise ConfigError(
            f"global_batch {global_batch} and world size {world_size} must be at least 1"
        )
    if global_batch % world_size:
        raise ConfigError(
            f"global_batch {global_batch} cannot be shared by {world_size} ranks: choose a world size that divides it"
        )
    if not 0 <= rank < world_size:
        raise ConfigError(f"rank {rank} is not one of the {world_size} ranks 0..{world_size - 1}")
    size = global_batch // world_size
    first = step * global_batch + rank * size
    return np.arange(first, first + size, dtype=np.int64)


def sample_key(seed: int, position: int, view: int = 0) -> int:
    """The key of everything random about a sample (clip start, crop, flip): never of the worker or the rank."""
    return hash_int(seed, _SAMPLE, position, view)
