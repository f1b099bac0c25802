"""V-JEPA 2.1's second loss: the predictor also predicts the features of visible tubelets."""

from dataclasses import dataclass
from typing import Annotated

import torch
from einops import rearrange
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class ContextLossConfig:
    """Weight of the loss on visible tubelets.

    Defaults are those of V-JEPA 2.1's published configs for video.
    """

    weight: Annotated[float, Range(0, 10**6, above=True)] = 0.5
    """Weight of this loss relative to the loss on hidden tubelets."""

    warmup_start: Annotated[int, Range(0, 10**9)] = 15_000
    """Last step at which the weight is 0."""

    warmup_end: Annotated[int, Range(0, 10**9)] = 30_000
    """First step at which the weight is full. Equal to `warmup_start`: no warm-up."""

    by_distance: bool = True
    """Divide a tubelet's loss by the square root of its distance to the nearest hidden tubelet."""

    def __post_init__(self) -> None:
        check_ranges(self, context="context.")
        if self.warmup_start > self.warmup_end:
            raise ConfigError(
                f"context.warmup_start is {self.warmup_start} and context.warmup_end is "
                f"{self.warmup_end}; give an end that is not before the start"
            )


def context_weight(config: ContextLossConfig, step: int) -> float:
    """Return the weight of the loss on visible tubelets at a step.

    It is 0 until `warmup_start`, then grows linearly to `weight` at `warmup_end`.

    Args:
        config: Weight and warm-up.
        step: Step of the run, counted from 0.
    """
    if step >= config.warmup_end:
        return config.weight
    return (
        config.weight
        * max(0, step - config.warmup_start)
        / (config.warmup_end - config.warmup_start)
    )


def nearness(
    grid: TubeletGrid, context_index: Int64[Tensor, "b k"], target_index: Int64[Tensor, "b m"]
) -> Float32[Tensor, "b k"]:
    """Return 1 / sqrt(distance) from each context token to the nearest target token.

    Distances are in tubelets of time, height and width: neighbors have nearness 1, others less.

    Source: V-JEPA 2.1's published code, `weight_distance_loss`.
    """
    is_target = torch.zeros(
        len(target_index), grid.num_tokens, dtype=torch.bool, device=target_index.device
    )
    is_target = is_target.scatter(1, target_index, True)
    is_target = rearrange(is_target, "b (t h w) -> b t h w", t=grid.frames, h=grid.height)

    squared = rearrange(squared_distances(is_target), "b t h w -> b (t h w)")
    return squared.gather(1, context_index) ** -0.25


def squared_distances(is_target: Bool[Tensor, "b t h w"]) -> Float32[Tensor, "b t h w"]:
    """Return the exact squared distance from every tubelet to the nearest target.

    Infinite for clips without targets. The minimum is taken axis by axis, which avoids a matrix of
    all pairs.
    """
    squared = torch.where(is_target, 0.0, torch.inf)
    for axis in (1, 2, 3):
        indices = torch.arange(squared.shape[axis], device=squared.device)
        gaps = (rearrange(indices, "i -> i 1") - indices) ** 2
        sums = rearrange(squared.movedim(axis, -1), "... j -> ... 1 j") + gaps
        squared = sums.amin(dim=-1).movedim(-1, axis)
    return squared
