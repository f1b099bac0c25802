"""The order: a pure function from a position to a stratum, one of its samples, and its epoch.

It knows nothing of ranks, workers or history, so the stream is the same for every world size and
after every resume. Three steps lead from a position to a sample:

1. **Mixing block.** Positions are cut into mixing blocks. Each block of a stage holds the same
   number of positions per stratum (`_shares.py`). A permutation keyed by (seed, block) decides
   which slot of the block belongs to which stratum.
2. **Draw.** The number of a stratum's draws before this position is known without history: whole
   blocks times its count per block, plus its slots before this one within the block. With `n`
   samples, draw `k` is in epoch `k // n` at rank `k % n`.
3. **Sample.** A shuffle keyed by (seed, stratum, epoch) maps the rank to a sample (`_shuffle.py`),
   so every epoch holds every sample exactly once.

Example: the mixture of the example in `_shares.py` (alpha has 10 samples, beta 7, gamma 5; a mixing
block of 16 positions holds 4, 4 and 8 of them), `shuffle_block=2`, `shuffle_window=2`, seed 239.
The tests guard this table.

    position  0  1  2  3  4  5  6  7  8  9 10 11 12 13 14 15 | 16 17 ...
    stratum   g  g  a  g  a  a  g  b  g  g  a  g  b  b  g  b |  b  g ...
    draw      0  1  0  2  1  2  3  0  4  5  3  6  1  2  7  3 |  4  8 ...
    epoch     0  0  0  0  0  0  0  0  0  1  0  1  0  0  1  0 |  0  1 ...
    rank      0  1  0  2  1  2  3  0  4  0  3  1  1  2  2  3 |  4  3 ...
    sample    0  1  2  4  8  9  2  2  3  3  3  1  3  0  2  1 |  4  0 ...

Position 14 is the fifteenth slot of block 0 and gamma's draw 7. Gamma has 5 samples, so this is
epoch 1, rank 2, and the shuffle of that epoch puts sample 2 there. Position 17 is in block 1: 8
draws of block 0 come before it, and no slot of gamma precedes it in block 1, so it is draw 8.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.stream._mixture import Mixture, resolved_stages
from surgrec.stream._permutation import hash_int, hash_text, hash_words, permute
from surgrec.stream._shares import Stratum, block_counts
from surgrec.stream._shuffle import shuffled_sample

_MIXING, _SHUFFLING, _SUBSTITUTE, _SAMPLE = 11, 12, 13, 14
"""Purpose of a key: two uses of the same seed and numbers never share a key."""
_CACHED_BLOCKS = 64
ORDER_VERSION = 1
"""Version of the order; raise it with every change of the sample at a position."""
_FIXED_FIELDS = (
    *("splits", "min_duration_s", "limits"),
    *("block", "shuffle_block", "shuffle_window"),
)
"""Fields of the mixture that hold for the whole run; stages cannot change them."""
_ADMITTED = "admitted"
_OF_WHOLE_SOURCE = ("digest", "rows")
"""Fields of an identity that clips change which the mixture does not admit. Earlier versions
recorded these alone."""


@dataclass(frozen=True, kw_only=True)
class DrawArrays:
    """The draws at some positions; every array has one entry per position."""

    stratum: Int64[np.ndarray, " n"]
    """Index into `Order.strata`."""
    sample: Int64[np.ndarray, " n"]
    """Sample within the stratum, in [0, size)."""
    epoch: Int64[np.ndarray, " n"]
    """Completed passes over the stratum before this draw."""


class Order:
    """The order of a run. Call it with positions to get their draws.

    Args:
        strata: All strata of the run, in any order.
        mixture: Levels, weights, stages and block sizes.
        seed: Seed of the run.

    Raises:
        MixtureError: The mixture does not fit the strata.

    Example:
        >>> order = Order(strata, Mixture(block=16, shuffle_block=2, shuffle_window=2), seed=239)
        >>> order(np.array([14, 17])).sample.tolist()
        [2, 0]
        >>> order.consumed(16)
        {'alpha': 4, 'beta': 4, 'gamma': 8}
    """

    def __init__(self, strata: Sequence[Stratum], mixture: Mixture, seed: int) -> None:
        self.strata = tuple(sorted(strata, key=lambda stratum: stratum.name))
        self.mixture = mixture
        self.seed = seed
        self._sizes = np.array([stratum.size for stratum in self.strata], dtype=np.int64)
        self._stratum_keys = np.array(
            [hash_text(stratum.name) for stratum in self.strata], dtype=np.uint64
        )

        # Tables by stage and stratum: positions of each mixing block, draws before the stage.
        self._stages = resolved_stages(mixture)
        self.counts = np.stack(
            [block_counts(self.strata, mixture, stage) for stage in self._stages]
        )
        """Positions of each mixing block, by stage and stratum."""
        self._start_blocks = np.array([stage.start_block for stage in self._stages], dtype=np.int64)
        draws_per_stage = np.diff(self._start_blocks)[:, None] * self.counts[:-1]
        self._draws_before_stage = np.cumsum(
            np.vstack([np.zeros_like(self.counts[:1]), draws_per_stage]), axis=0
        )

        # The unshuffled deck of a mixing block: with counts 4, 4, 8 it is aaaabbbbgggggggg.
        self._slots = np.arange(mixture.block, dtype=np.int64)
        self._decks = np.stack(
            [np.repeat(np.arange(len(self.strata)), counts) for counts in self.counts]
        )
        self._first_in_deck = np.cumsum(self.counts, axis=1) - self.counts

        self._deal_block_cached = lru_cache(_CACHED_BLOCKS)(self._deal_block)

    def __reduce__(self) -> tuple[type["Order"], tuple[Sequence[Stratum], Mixture, int]]:
        """Pickle the arguments alone: they define the order, and its cache cannot be pickled."""
        return Order, (self.strata, self.mixture, self.seed)

    def __call__(self, positions: Int64[np.ndarray, " n"]) -> DrawArrays:
        """Return the draws at these positions of the run.

        The positions may be in any order, and may repeat.
        """
        stratum, draw = self._mix(positions)
        epoch, rank = np.divmod(draw, self._sizes[stratum])
        sample = self._shuffle(stratum, rank, epoch)
        return DrawArrays(stratum=stratum, sample=sample, epoch=epoch)

    def substitutes(self, position: int) -> Iterator[int]:
        """Yield the other samples of the stratum at a position, in the order of substitution."""
        draw = self(np.array([position], dtype=np.int64))
        size, bad = int(self._sizes[draw.stratum[0]]), int(draw.sample[0])
        key = hash_words(self.seed, _SUBSTITUTE, position)
        for attempt in range(size - 1):
            yield (bad + 1 + int(permute(attempt, size - 1, key))) % size

    def drawn(self, positions: int) -> Int64[np.ndarray, " strata"]:
        """Return the number of samples of each stratum in the first `positions` positions."""
        block, rest = divmod(positions, self.mixture.block)
        stage = self._stage_of(np.array([block]))[0]
        stage_blocks = block - self._start_blocks[stage]
        whole_blocks = self._draws_before_stage[stage] + stage_blocks * self.counts[stage]

        # Count the last, incomplete mixing block position by position.
        tail, _ = self._mix(np.arange(positions - rest, positions, dtype=np.int64))
        return np.asarray(whole_blocks + np.bincount(tail, minlength=len(self.strata)))

    def drawn_samples(self, positions: int) -> list[Int64[np.ndarray, " _"]]:
        """Return the samples that the first `positions` positions draw, each once, by stratum."""
        return [
            self._epoch_start(stratum, min(draws, int(self._sizes[stratum])))
            for stratum, draws in enumerate(self.drawn(positions).tolist())
        ]

    def consumed(self, positions: int) -> dict[str, int]:
        """Return the number of samples of each source in the first `positions` positions."""
        return self._sum_by_source(self.drawn(positions))

    def identity(self, positions: int | None = None) -> dict[str, Any]:
        """Return everything that the order depends on, as JSON.

        Orders with equal identities draw the same samples.

        Args:
            positions: Leave out stages that begin after this many positions. None: keep all stages
                of the endless run.
        """
        begun = [
            stage
            for stage in self._stages
            if positions is None or stage.start_block * self.mixture.block < positions
        ]
        begun = begun or self._stages[:1]
        stages = [
            {
                "start_block": stage.start_block,
                "levels": [asdict(level) for level in stage.levels],
                "weights": dict(stage.weights),
                "counts": self._counts_by_stratum(counts),
            }
            for stage, counts in zip(begun, self.counts[: len(begun)].tolist(), strict=True)
        ]
        fixed = {name: getattr(self.mixture, name) for name in _FIXED_FIELDS}

        # The domain decides draws only if a level divides by it.
        by_domain = any(level.by == "domain" for stage in begun for level in stage.levels)
        samples = self._sum_by_source(self._sizes)
        sources = {
            stratum.source: {
                "digest": stratum.source_digest,
                "rows": stratum.source_rows_digest,
                "clips": stratum.source_clips_digest,
                "samples": samples[stratum.source],
                **({"domain": stratum.domain} if by_domain else {}),
            }
            for stratum in self.strata
        }
        strata = {
            stratum.name: {"rows": stratum.rows_digest, "samples": stratum.size}
            for stratum in self.strata
            if stratum.values
        }
        return {
            "version": ORDER_VERSION,
            "seed": self.seed,
            "mixture": {**fixed, "stages": stages},
            "sources": sources,
            "strata": strata,
        }

    def _counts_by_stratum(self, counts: Sequence[int]) -> dict[str, int]:
        pairs = zip(self.strata, counts, strict=True)
        return {stratum.name: count for stratum, count in pairs if count}

    def _epoch_start(self, stratum: int, draws: int) -> Int64[np.ndarray, " draws"]:
        """Return the samples of a stratum's first draws, of epoch 0; all of them in any order."""
        rank = np.arange(draws, dtype=np.int64)
        if draws == self._sizes[stratum]:
            return rank
        return self._shuffle(np.full_like(rank, stratum), rank, np.zeros_like(rank))

    def _shuffle(
        self,
        stratum: Int64[np.ndarray, " n"],
        rank: Int64[np.ndarray, " n"],
        epoch: Int64[np.ndarray, " n"],
    ) -> Int64[np.ndarray, " n"]:
        """Return the samples at these ranks of epochs of strata."""
        return shuffled_sample(
            rank,
            self._sizes[stratum],
            hash_words(self.seed, _SHUFFLING, self._stratum_keys[stratum], epoch),
            block=self.mixture.shuffle_block,
            window=self.mixture.shuffle_window,
        )

    def _sum_by_source(self, counts: Int64[np.ndarray, " strata"]) -> dict[str, int]:
        totals: Counter[str] = Counter()
        for stratum, count in zip(self.strata, counts.tolist(), strict=True):
            totals[stratum.source] += count
        return dict(totals)

    def _stage_of(self, blocks: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return the index of the stage that each mixing block belongs to."""
        return np.searchsorted(self._start_blocks, blocks, side="right").astype(np.int64) - 1

    def _mix(
        self, positions: Int64[np.ndarray, " n"]
    ) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Return the stratum at each position, and the number of its draws before that position."""
        block, slot = np.divmod(positions, self.mixture.block)
        blocks, inverse = np.unique(block, return_inverse=True)

        # Usual case: the batch lies within one mixing block, which neighboring batches share.
        if len(blocks) == 1:
            stratum, draw = self._deal_block_cached(int(blocks[0]))
            return stratum[slot], draw[slot]

        strata, draws = self._deal_blocks(blocks)
        return strata[inverse, slot], draws[inverse, slot]

    def _deal_block(
        self, block: int
    ) -> tuple[Int64[np.ndarray, " slots"], Int64[np.ndarray, " slots"]]:
        strata, draws = self._deal_blocks(np.array([block], dtype=np.int64))
        return strata[0], draws[0]

    def _deal_blocks(
        self, blocks: Int64[np.ndarray, " b"]
    ) -> tuple[Int64[np.ndarray, "b slots"], Int64[np.ndarray, "b slots"]]:
        """Return the stratum of every slot, and the number of that stratum's draws before it."""
        stage = self._stage_of(blocks)

        # Deal the blocks: shuffle each one's deck, which says which stratum owns each slot.
        block_key = hash_words(self.seed, _MIXING, blocks)[:, None]
        card = permute(self._slots[None, :], self.mixture.block, block_key).astype(np.int64)
        stratum = self._decks[stage[:, None], card]

        # Number the slots of each stratum within the block: 0, 1, 2, ... in slot order. A stable
        # sort by stratum brings them together, in the layout of the deck; the number is the
        # distance to the stratum's first card there.
        slots_by_stratum = np.argsort(stratum, axis=1, kind="stable")
        sorted_stratum = np.take_along_axis(stratum, slots_by_stratum, axis=1)
        first = self._first_in_deck[stage[:, None], sorted_stratum]
        number = np.empty_like(stratum)
        np.put_along_axis(number, slots_by_stratum, self._slots[None, :] - first, axis=1)

        # Add the draws of all earlier blocks: of earlier stages, and of this stage.
        stage_blocks = (blocks - self._start_blocks[stage])[:, None]
        draws_before = self._draws_before_stage[stage] + stage_blocks * self.counts[stage]
        return stratum, np.take_along_axis(draws_before, stratum, axis=1) + number


def names_admitted(identity: Mapping[str, Any]) -> bool:
    """Return whether the saved identity of an order has digests of the admitted clips alone."""
    return any(_ADMITTED in source for source in identity["sources"].values())


def comparable_order(identity: Mapping[str, Any], *, by_admitted: bool = True) -> dict[str, Any]:
    """Return the values of an order's identity by which runs are compared.

    Args:
        identity: From `Stream.identity`, maybe as an earlier version saved it.
        by_admitted: Compare the clips that the mixture admits alone, so that neither other splits
            nor sources without an admitted clip matter. False: compare as earlier versions did.
    """
    left_out = _OF_WHOLE_SOURCE if by_admitted else (_ADMITTED,)
    parts = {
        part: {
            name: {field: value for field, value in values.items() if field not in left_out}
            for name, values in identity[part].items()
            if values.get("samples") or not by_admitted
        }
        for part in ("sources", "strata")
        if part in identity
    }
    return {**identity, **parts}


def rank_positions(
    step: int, *, global_batch: int, rank: int, world_size: int
) -> Int64[np.ndarray, " n"]:
    """Return the positions of one rank at one step.

    They are the rank's slice of [step * global_batch, (step + 1) * global_batch).

    Example:
        >>> rank_positions(5, global_batch=12, rank=1, world_size=3).tolist()
        [64, 65, 66, 67]

    Raises:
        ConfigError: The world size does not divide the global batch, or the rank is not in the
            world.
    """
    if global_batch < 1 or world_size < 1:
        raise ConfigError(
            f"global_batch is {global_batch} and world_size is {world_size}; "
            "give at least 1 for both"
        )
    if global_batch % world_size:
        raise ConfigError(
            f"global_batch {global_batch} cannot be shared equally by {world_size} ranks; "
            "choose a number of ranks that divides it"
        )
    if not 0 <= rank < world_size:
        raise ConfigError(
            f"rank is {rank} and world_size is {world_size}; give a rank from 0 to {world_size - 1}"
        )

    size = global_batch // world_size
    first = step * global_batch + rank * size
    return np.arange(first, first + size, dtype=np.int64)


def sample_key(seed: int, position: int, view: int = 0) -> int:
    """Return the RNG key of one view of a sample (clip start, crop, flip).

    It depends on no worker and no rank.
    """
    return hash_int(seed, _SAMPLE, position, view)
