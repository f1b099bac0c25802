"""V-JEPA 2.1's second loss: the predictor also predicts the features of visible tubelets."""

from dataclasses import dataclass
from typing import Annotated

from jaxtyping import Float32, Int64
from torch import Tensor

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.objectives._nearest import nearest_tokens
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
    squared, _ = nearest_tokens(grid, context_index, target_index)
    return squared**-0.25
