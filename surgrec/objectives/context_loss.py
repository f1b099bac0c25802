"""V-JEPA 2.1's second loss: the features of what the context encoder sees are predicted as well."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid


@dataclass(frozen=True, kw_only=True)
class ContextLossConfig:
    """How much the loss on visible tubelets counts. Defaults are those of V-JEPA 2.1's published configs for video."""

    weight: float = 0.5
    """Of this loss, beside that on hidden tubelets."""

    warmup_start: int = 15_000
    """Step until which the loss does not count."""

    warmup_end: int = 30_000
    """Step from which it counts fully; equal to `warmup_start` where it does from there."""

    by_distance: bool = True
    """Divide a tubelet's loss by the square root of its distance to the nearest hidden one."""

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ConfigError(
                f"the context's weight is {self.weight}; give a positive one, or leave the context loss out"
            )
        if not 0 <= self.warmup_start <= self.warmup_end:
            raise ConfigError(
                f"the context's warmup_start {self.warmup_start} must be 0 or more, and not after warmup_end {self.warmup_end}"
            )


def context_weight(config: ContextLossConfig, step: int) -> float:
    """The weight of the loss on visible tubelets at a step, counted from 0: nothing, then linearly more, then `weight`."""
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
    """1 / sqrt(distance) of each context token to the nearest target token, in tubelets of time, height and width: 1 for
    neighbors, less farther away.

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
    """The squared distance of every place to the nearest target, exact; infinite where there is none.

    A minimum over targets of a sum over axes is taken axis by axis, so that no matrix of all pairs is made.
    """
    squared = torch.where(is_target, 0.0, torch.inf)
    for axis in (1, 2, 3):
        places = torch.arange(squared.shape[axis], device=squared.device)
        gaps = (rearrange(places, "here -> here 1") - places) ** 2
        along = rearrange(squared.movedim(axis, -1), "... there -> ... 1 there") + gaps
        squared = along.amin(dim=-1).movedim(-1, axis)
    return squared
