"""The lengths that hardly any mask group of a run exceeds, without drawing the groups."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.masks._grid import TubeletGrid
from surgrec.masks._multiblock import MultiblockConfig, draw_block_size, draw_hidden_tokens
from surgrec.masks._random_source import RandomSource, uniforms

_BLOCK_SIZES = 2048
"""Block sizes that are drawn to learn the share of each."""
_CLIPS = 1000
"""Clips that are drawn for each block size."""
_STEPS = 512
"""Costs that are told apart; each is rounded up to the next one."""


@dataclass(frozen=True, kw_only=True)
class _Lengths:
    """Lengths of mask groups under one or several mask configurations, and how often they occur."""

    costs: Float64[np.ndarray, " n"]
    shares: Float64[np.ndarray, " n"]
    """Shares of the mask groups; they add up to 1."""
    lengths: Int64[np.ndarray, "n configs 2"]
    """Context and target length under each mask configuration."""


def heaviest_lengths(
    grid: TubeletGrid,
    configs: Sequence[MultiblockConfig],
    *,
    mask_group: int,
    context_cost: float,
    target_cost: float,
    above: float = 1e-8,
) -> list[tuple[int, int]]:
    """Return a context and a target length per mask configuration that bound those of a run.

    All lengths together cost more than those of almost every mask group. The groups are not drawn.
    A group has the context of its clip with the shortest one, so the distribution over groups
    follows from that over clips of each block size.

    The distribution over clips is that of 1,000 clips per block size. Groups of fewer than three
    clips reach lengths that are rarer: for them, the result is the heaviest group of these clips.

    Args:
        grid: Grid of the clips.
        configs: Mask configurations.
        mask_group: Positions per group.
        context_cost: Cost of a context token, at least that of a target token.
        target_cost: Cost of a target token.
        above: Share of the mask groups that may cost more. 90,000 steps of 3,072 have 10^7 groups.

    Raises:
        ConfigError: The blocks hide nothing or everything of this grid.
    """
    cost = np.array([context_cost, target_cost])
    each = [
        _allowed(config, cost)
        if config.lengths
        else _distribution(grid, config, mask_group, cost, uniforms(0, 0, number))
        for number, config in enumerate(configs)
    ]

    groups = reduce(_together, each)
    order = np.argsort(-groups.costs, kind="stable")
    first = int(np.searchsorted(np.cumsum(groups.shares[order]), above))
    chosen = groups.lengths[order[min(first, len(order) - 1)]]
    return [(int(context), int(target)) for context, target in chosen]


def _allowed(config: MultiblockConfig, cost: Float64[np.ndarray, " 2"]) -> _Lengths:
    """Return the most expensive pair of a configuration's `lengths`."""
    pairs = np.array(config.lengths, dtype=np.int64)
    heaviest = pairs[np.argmax(pairs @ cost)]
    return _Lengths(
        costs=np.array([heaviest @ cost]), shares=np.ones(1), lengths=heaviest.reshape(1, 1, 2)
    )


def _distribution(
    grid: TubeletGrid,
    config: MultiblockConfig,
    mask_group: int,
    cost: Float64[np.ndarray, " 2"],
    random: RandomSource,
) -> _Lengths:
    """Return the lengths of groups under one mask configuration."""
    drawn = Counter(draw_block_size(grid, config, random) for _ in range(_BLOCK_SIZES))

    shares, lengths = [], []
    for block, count in drawn.items():
        contexts = _contexts(grid, block, config.num_blocks, random)
        shortest, longest, share = _extremes(contexts, mask_group)
        shares.append(share * count / _BLOCK_SIZES)
        lengths.append(np.stack([shortest, grid.num_tokens - longest], axis=1))

    pairs = np.concatenate(lengths)
    return _thinned(
        _Lengths(costs=pairs @ cost, shares=np.concatenate(shares), lengths=pairs.reshape(-1, 1, 2))
    )


def _contexts(
    grid: TubeletGrid, block: TubeletGrid, num_blocks: int, random: RandomSource
) -> Int64[np.ndarray, " clips"]:
    """Return the visible tokens of some clips."""
    # Blocks as long as the clip hide the same tubelets of every frame.
    frames = grid.frames if block.frames == grid.frames else 1
    grid, block = (
        TubeletGrid(part.frames // frames, part.height, part.width) for part in (grid, block)
    )
    visible = [
        grid.num_tokens - draw_hidden_tokens(grid, block, num_blocks, random).sum()
        for _ in range(_CLIPS)
    ]
    return frames * np.array(visible, dtype=np.int64)


def _extremes(
    values: Int64[np.ndarray, " n"], size: int
) -> tuple[Int64[np.ndarray, " m"], Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return smallest and largest of `size` draws from these values, and how often they occur."""
    distinct, counts = np.unique(values, return_counts=True)
    below = np.concatenate([[0.0], np.cumsum(counts) / len(values)])

    # inside[i, j]: chance that all draws are among the distinct values i to j - 1.
    inside = np.clip(below[None, :] - below[:, None], 0.0, 1.0) ** size
    share = inside[:-1, 1:] - inside[1:, 1:] - inside[:-1, :-1] + inside[1:, :-1]
    low, high = np.nonzero(share > 0)
    return distinct[low], distinct[high], share[low, high]


def _together(first: _Lengths, second: _Lengths) -> _Lengths:
    """Return the lengths under two sets of mask configurations, which are drawn independently."""
    one, other = np.indices((len(first.costs), len(second.costs))).reshape(2, -1)
    return _thinned(
        _Lengths(
            costs=first.costs[one] + second.costs[other],
            shares=first.shares[one] * second.shares[other],
            lengths=np.concatenate([first.lengths[one], second.lengths[other]], axis=1),
        )
    )


def _thinned(groups: _Lengths) -> _Lengths:
    """Return at most `_STEPS` lengths: the most expensive one of each step of costs."""
    highest = groups.costs.max()
    width = max((highest - groups.costs.min()) / (_STEPS - 1), math.ulp(highest))
    step = ((highest - groups.costs) / width).astype(np.int64)

    order = np.lexsort((-groups.costs, step))
    steps, first = np.unique(step[order], return_index=True)
    kept = order[first]
    shares = np.bincount(step, weights=groups.shares)[steps]
    return _Lengths(costs=groups.costs[kept], shares=shares, lengths=groups.lengths[kept])
