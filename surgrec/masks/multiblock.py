"""V-JEPA's multi-block masks: what a few random blocks cover is predicted from what they leave visible."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks.grid import TubeletGrid
from surgrec.masks.random_source import RandomSource, uniforms

Trim: TypeAlias = Literal["prefix", "random"]

_MAX_DRAWS = 1000
"""Draws of one block size or one sample before its mask configuration is called impossible."""


@dataclass(frozen=True, kw_only=True)
class MultiblockConfig:
    """One mask configuration. Source: V-JEPA, arXiv:2404.08471, section 3.2."""

    num_blocks: int
    """Blocks hidden in each clip; they may overlap."""

    spatial_scale: float
    """Area of a block, as a fraction of the frame."""

    temporal_scale: float = 1.0
    """Length of a block, as a fraction of the clip."""

    aspect_ratio: tuple[float, float] = (0.75, 1.5)
    """Range of a block's height divided by its width."""

    lengths: tuple[tuple[int, int], ...] = ()
    """The only numbers of context and target tokens that a clip may have, in pairs: static shapes for a compiled model. A mask
    group is cut to the pair that keeps most of it, and drawn again where none fits. Empty: cut to its shortest clip, as
    published."""

    def __post_init__(self) -> None:
        if self.num_blocks < 1:
            raise ConfigError(f"num_blocks is {self.num_blocks}; a mask needs at least one block")
        for name, scale in (
            ("spatial_scale", self.spatial_scale),
            ("temporal_scale", self.temporal_scale),
        ):
            if not 0 < scale <= 1:
                raise ConfigError(f"{name} is {scale}; give a fraction above 0 and at most 1")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1]:
            raise ConfigError(
                f"aspect_ratio is {self.aspect_ratio}; give a positive range, the smaller number first"
            )
        if any(min(pair) < 1 for pair in self.lengths):
            raise ConfigError(
                f"lengths is {self.lengths}; give pairs of 1 or more context and target tokens"
            )


SHORT_RANGE = MultiblockConfig(num_blocks=8, spatial_scale=0.15)
LONG_RANGE = MultiblockConfig(num_blocks=2, spatial_scale=0.7)


@dataclass(frozen=True, kw_only=True)
class Masks:
    """Token ids of some clips under one mask configuration, ascending in each row. Context and target never meet."""

    context_index: Int64[np.ndarray, "b k_context"]
    """What the context encoder sees."""

    target_index: Int64[np.ndarray, "b k_target"]
    """What the predictor predicts."""

    unscored_index: Int64[np.ndarray, "b k_unscored"] | None = None
    """What VideoMAE v2 decodes as well although it is seen; nothing is made of it."""

    def take(self, slots: Int64[np.ndarray, " slots"]) -> "Masks":
        """The rows at these slots of the group."""
        return Masks(context_index=self.context_index[slots], target_index=self.target_index[slots])


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
    """The masks of one whole mask group, a pure function of the arguments.

    One block size is drawn for the group, and positions for each sample. All rows are cut to the length of the group's
    shortest, or to one of the config's `lengths`, so that they stack; what is cut is neither seen nor predicted.

    Args:
        grid: Grid of the clips.
        config: Blocks to hide.
        seed: Seed of the run.
        group: Number of the group in the global order.
        size: Samples in a group.
        mask_config: Number of the mask configuration; each draws its own blocks.
        trim: What is cut: `prefix` keeps the lowest ids, as V-JEPA does, and so drops the last frames first;
            `random` keeps a random subset, each id of a row with the same probability, so that the mean over what is kept
            has the expectation of the mean over the whole row.

    Raises:
        ConfigError: No block of this configuration hides a part, and not the whole, of this grid, or what it hides and
            leaves is shorter than all `lengths`.
    """
    draw = uniforms(seed, group, mask_config)
    for _ in range(_MAX_DRAWS):
        block = _block_size(grid, config, draw)
        hidden = [_hidden_tokens(grid, block, config.num_blocks, draw) for _ in range(size)]
        context, target = (
            [np.flatnonzero(~mask) for mask in hidden],
            [np.flatnonzero(mask) for mask in hidden],
        )
        kept = _kept_lengths(config.lengths, min(map(len, context)), min(map(len, target)))
        if kept is not None:
            context_index, target_index = (
                _stack(context, kept[0], trim, draw),
                _stack(target, kept[1], trim, draw),
            )
            return Masks(context_index=context_index, target_index=target_index)
    raise ConfigError(
        f"none of lengths {config.lengths} fits any group of {size} masks on a grid of {grid.frames} x {grid.height} x "
        f"{grid.width} tubelets; give a shorter pair"
    )


def _kept_lengths(
    lengths: tuple[tuple[int, int], ...], context: int, target: int
) -> tuple[int, int] | None:
    """To how many tokens of context and target a group is cut whose shortest clips have these; None where no pair fits."""
    if not lengths:
        return context, target
    return max(
        (pair for pair in lengths if pair[0] <= context and pair[1] <= target),
        key=sum,
        default=None,
    )


def _block_size(grid: TubeletGrid, config: MultiblockConfig, draw: RandomSource) -> TubeletGrid:
    """A block of the asked area and a random aspect ratio, cut to the grid."""
    area = int(grid.height * grid.width * config.spatial_scale)
    frames = max(1, int(grid.frames * config.temporal_scale))
    lowest, highest = config.aspect_ratio
    for _ in range(_MAX_DRAWS):
        ratio = lowest + float(draw(1)[0]) * (highest - lowest)
        height = min(round(math.sqrt(area * ratio)), grid.height)
        width = min(round(math.sqrt(area / ratio)), grid.width)
        block = TubeletGrid(frames, height, width)
        if 0 < block.num_tokens < grid.num_tokens:
            return block
    raise ConfigError(
        f"Blocks with spatial_scale {config.spatial_scale} hide nothing or everything of a grid of {grid.frames} x "
        f"{grid.height} x {grid.width} tubelets; change the scale, or take larger clips"
    )


def _hidden_tokens(
    grid: TubeletGrid, block: TubeletGrid, num_blocks: int, draw: RandomSource
) -> Bool[np.ndarray, " n"]:
    """True where a token lies in one of the blocks; drawn again while nothing stays visible."""
    places = (
        grid.frames - block.frames + 1,
        grid.height - block.height + 1,
        grid.width - block.width + 1,
    )
    for _ in range(_MAX_DRAWS):
        hidden = np.zeros((grid.frames, grid.height, grid.width), dtype=bool)
        corners = (draw(3 * num_blocks).reshape(num_blocks, 3) * places).astype(np.int64)
        for t, h, w in corners:
            hidden[t : t + block.frames, h : h + block.height, w : w + block.width] = True
        if not hidden.all():
            return hidden.ravel()
    raise ConfigError(
        f"{num_blocks} blocks of {block.frames} x {block.height} x {block.width} leave nothing visible of a grid of "
        f"{grid.frames} x {grid.height} x {grid.width} tubelets; hide fewer or smaller blocks"
    )


def _stack(
    rows: list[Int64[np.ndarray, " _"]], length: int, trim: Trim, draw: RandomSource
) -> Int64[np.ndarray, "b k"]:
    if trim == "random":
        rows = [np.sort(row[np.argsort(draw(len(row)), kind="stable")[:length]]) for row in rows]
    return np.stack([row[:length] for row in rows])
