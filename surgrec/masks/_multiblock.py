"""V-JEPA's multi-block masks: a few random blocks are hidden, and predicted from the rest."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks._grid import TubeletGrid
from surgrec.masks._random_source import RandomSource, uniforms
from surgrec.ranges import Range, check_ranges

Trim: TypeAlias = Literal["prefix", "random"]

_MAX_ATTEMPTS = 1000
"""Attempts at one block size or one sample before a mask configuration counts as impossible."""


Share: TypeAlias = Annotated[float, Range(0, 1, above=True)]
Ratio: TypeAlias = Annotated[float, Range(0.01, 100)]
Length: TypeAlias = Annotated[int, Range(1, 10**8)]


@dataclass(frozen=True, kw_only=True)
class MultiblockConfig:
    """One mask configuration. Source: V-JEPA, arXiv:2404.08471, section 3.2."""

    num_blocks: Annotated[int, Range(1, 1000)]
    """Blocks hidden in each clip; they may overlap."""

    spatial_scale: Share
    """Area of a block, as a fraction of the frame."""

    temporal_scale: Share = 1.0
    """Length of a block, as a fraction of the clip."""

    aspect_ratio: tuple[Ratio, Ratio] = (0.75, 1.5)
    """Range of a block's height divided by its width."""

    lengths: tuple[tuple[Length, Length], ...] = ()
    """Allowed pairs of context length and target length, in tokens: static shapes for a compiled
    model. A mask group is trimmed to the pair that keeps the most tokens, and drawn again if no
    pair fits. Empty, as published: a group is trimmed to its shortest clip."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.aspect_ratio[0] > self.aspect_ratio[1]:
            raise ConfigError(f"aspect_ratio is {self.aspect_ratio}; give the smaller number first")


SHORT_RANGE = MultiblockConfig(num_blocks=8, spatial_scale=0.15)
"""V-JEPA's short-range masks: eight small blocks."""

LONG_RANGE = MultiblockConfig(num_blocks=2, spatial_scale=0.7)
"""V-JEPA's long-range masks: two large blocks."""


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Token ids of a batch of clips under one mask configuration.

    Ids ascend in each row. Context and target share no id.
    """

    context_index: Int64[np.ndarray, "b k_context"]
    """Tokens that the context encoder sees."""

    target_index: Int64[np.ndarray, "b k_target"]
    """Tokens that are predicted."""

    unscored_index: Int64[np.ndarray, "b k_unscored"] | None = None
    """Visible tokens that VideoMAE v2 decodes too, without a loss."""

    def take(self, rows: Int64[np.ndarray, " rows"]) -> "Masks":
        """Return the masks of these rows."""
        return Masks(context_index=self.context_index[rows], target_index=self.target_index[rows])


def sample_group(
    grid: TubeletGrid,
    config: MultiblockConfig,
    *,
    seed: int,
    group: int,
    size: int,
    mask_config: int = 0,
    trim: Trim = "prefix",
) -> Masks:
    """Return the masks of one whole mask group, a pure function of the arguments.

    One block size is drawn for the group, and block corners for each sample. All rows are trimmed
    to the shortest row of the group, or to one of the config's `lengths`, so that they stack.
    Trimmed tokens are neither visible nor predicted.

    Args:
        grid: Grid of the clips.
        config: Blocks to hide.
        seed: Seed of the run.
        group: Number of the group in the stream.
        size: Samples in the group.
        mask_config: Number of the mask configuration; each draws different blocks.
        trim: Which tokens are kept. `prefix` keeps the lowest ids, as V-JEPA does, and so drops the
            last frames first. `random` keeps each id of a row with the same probability, so that
            the mean over the kept tokens is an unbiased estimate of the mean over the row.

    Raises:
        ConfigError: The blocks hide nothing or everything of this grid, or no group reaches any of
            `lengths`.
    """
    random = uniforms(seed, group, mask_config)
    for _ in range(_MAX_ATTEMPTS):
        # Draw one block size for the group, and the hidden tokens of every sample.
        block = draw_block_size(grid, config, random)
        hidden = [draw_hidden_tokens(grid, block, config.num_blocks, random) for _ in range(size)]
        context = [np.flatnonzero(~mask) for mask in hidden]
        target = [np.flatnonzero(mask) for mask in hidden]

        # Trim all rows to a common length; without a fitting pair of lengths, draw again.
        kept = _kept_lengths(config.lengths, min(map(len, context)), min(map(len, target)))
        if kept is not None:
            context_index = _stack(context, kept[0], trim, random)
            target_index = _stack(target, kept[1], trim, random)
            return Masks(context_index=context_index, target_index=target_index)

    raise ConfigError(
        f"the masks of {size} clips of {grid} have too few tokens for every pair in lengths "
        f"{config.lengths}; give a pair of shorter lengths"
    )


def _kept_lengths(
    lengths: tuple[tuple[int, int], ...], context: int, target: int
) -> tuple[int, int] | None:
    """Return the lengths that a group is trimmed to, or None if no allowed pair fits.

    Args:
        lengths: Allowed pairs; empty: all.
        context: Shortest context of the group, tokens.
        target: Shortest target of the group, tokens.
    """
    if not lengths:
        return context, target
    return max(
        (pair for pair in lengths if pair[0] <= context and pair[1] <= target),
        key=sum,
        default=None,
    )


def draw_block_size(
    grid: TubeletGrid, config: MultiblockConfig, random: RandomSource
) -> TubeletGrid:
    """Return a block of the configured area and a random aspect ratio, clipped to the grid."""
    area = int(grid.height * grid.width * config.spatial_scale)
    frames = max(1, int(grid.frames * config.temporal_scale))
    lowest, highest = config.aspect_ratio

    for _ in range(_MAX_ATTEMPTS):
        ratio = lowest + float(random(1)[0]) * (highest - lowest)
        height = min(round(math.sqrt(area * ratio)), grid.height)
        width = min(round(math.sqrt(area / ratio)), grid.width)
        block = TubeletGrid(frames, height, width)
        if 0 < block.num_tokens < grid.num_tokens:
            return block

    raise ConfigError(
        f"blocks with spatial_scale {config.spatial_scale} hide nothing or the whole of a clip of "
        f"{grid}; change spatial_scale, or raise crop_px"
    )


def draw_hidden_tokens(
    grid: TubeletGrid, block: TubeletGrid, num_blocks: int, random: RandomSource
) -> Bool[np.ndarray, " n"]:
    """Return True for tokens inside at least one block. Draw again until some token is visible."""
    num_corners = (
        grid.frames - block.frames + 1,
        grid.height - block.height + 1,
        grid.width - block.width + 1,
    )
    for _ in range(_MAX_ATTEMPTS):
        hidden = np.zeros((grid.frames, grid.height, grid.width), dtype=bool)
        corners = (random(3 * num_blocks).reshape(num_blocks, 3) * num_corners).astype(np.int64)
        for t, h, w in corners:
            hidden[t : t + block.frames, h : h + block.height, w : w + block.width] = True
        if not hidden.all():
            return hidden.ravel()

    raise ConfigError(
        f"{num_blocks} blocks of {block} hide the whole of a clip of {grid}; lower num_blocks or "
        "spatial_scale"
    )


def _stack(
    rows: list[Int64[np.ndarray, " _"]], length: int, trim: Trim, random: RandomSource
) -> Int64[np.ndarray, "b k"]:
    """Return rows of ascending ids trimmed to one length."""
    if trim == "random":
        rows = [np.sort(row[np.argsort(random(len(row)), kind="stable")[:length]]) for row in rows]
    return np.stack([row[:length] for row in rows])
