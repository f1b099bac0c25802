"""The training step of each method, as its recipe computes it, without data and without updates.

A new objective gets a branch here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import GroupMasks
from surgrec.models import Encoder, EncoderConfig
from surgrec.objectives import (
    JepaObjective,
    JepaObjectiveConfig,
    MaeObjective,
    MaeObjectiveConfig,
    Objective,
    jepa_masks,
    mae_masks,
    target_features,
)
from surgrec.training import RunConfig, ema_copy

_GROUPS = 100
"""Mask groups among which the heaviest one is looked for."""
_MAE_SAMPLES = 8
"""Samples of a part that is measured. All MAE masks of a run have the same lengths."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method with a config: its modules, on the device on which they are built, and one part."""

    objective: nn.Module
    """The trained module."""
    target: nn.Module | None
    """The target encoder of a JEPA."""
    clips: int
    """Clips of the part."""
    loss: Callable[[Tensor], Tensor]
    """Maps the clips of the part to their loss."""
    flops_per_clip: float
    """Floating-point operations of one training step per clip, mean over many masks."""

    @property
    def modules(self) -> list[nn.Module]:
        """All modules."""
        return [self.objective] if self.target is None else [self.objective, self.target]


def method_of(config: RunConfig, samples: int) -> Method:
    """Build the modules of a run and choose a part to measure, of `samples` samples or fewer.

    The part of a JEPA is the heaviest of the first hundred mask groups.

    Args:
        config: The recipe's config.
        samples: Samples of a rank.

    Raises:
        ConfigError: The objective is of no known method.
    """
    objective: Any = getattr(config, "objective", None)
    if isinstance(objective, JepaObjectiveConfig):
        return _jepa(config, objective, min(samples, objective.mask_group))
    if isinstance(objective, MaeObjectiveConfig):
        return _mae(config, objective, min(samples, _MAE_SAMPLES))
    raise ConfigError(f"the objective is {type(objective).__name__}, of which no plan can be made")


def _jepa(config: RunConfig, options: JepaObjectiveConfig, samples: int) -> Method:
    encoder = Encoder(config.encoder)
    objective, target = JepaObjective(encoder, options), ema_copy(encoder)
    grid, size = config.encoder.grid, options.mask_group

    groups, heaviest = _mask_groups(config.encoder, options, config.seed)
    part = jepa_masks(
        options,
        grid,
        seed=config.seed,
        positions=np.arange(heaviest * size, heaviest * size + samples),
    )
    masks = [replace(group, rows=slice(0, samples)) for group in part]

    def loss(clips: Tensor) -> Tensor:
        targets = target_features(target, clips)
        # At the last step, the weight of the context loss is full.
        result: Tensor = objective(clips, targets, masks, config.steps)["loss"]
        return result

    return Method(
        objective=objective,
        target=target,
        clips=samples,
        loss=loss,
        flops_per_clip=objective.flops(groups) / (_GROUPS * size),
    )


@cache
def _mask_groups(
    encoder: EncoderConfig, options: JepaObjectiveConfig, seed: int
) -> tuple[list[GroupMasks], int]:
    """Return the first mask groups, and the number of the heaviest.

    Its tokens pass through most channels and blocks.
    """
    positions = np.arange(_GROUPS * options.mask_group)
    groups = jepa_masks(options, encoder.grid, seed=seed, positions=positions)
    heaviest = max(range(len(groups)), key=lambda number: _weight(encoder, options, groups[number]))
    return groups, heaviest


def _weight(encoder: EncoderConfig, options: JepaObjectiveConfig, group: GroupMasks) -> int:
    predictor = options.predictor
    context: int = sum(mask.context_index.shape[1] for mask in group.masks)
    hidden: int = sum(mask.target_index.shape[1] for mask in group.masks)
    encoded: int = context * encoder.width * encoder.depth
    predicted: int = (context + hidden) * predictor.width * predictor.depth
    return encoded + predicted


def _mae(config: RunConfig, options: MaeObjectiveConfig, samples: int) -> Method:
    objective: Objective = MaeObjective(Encoder(config.encoder), options)
    views = int(getattr(config, "views", 1))
    masks = mae_masks(
        options,
        config.encoder.grid,
        seed=config.seed,
        positions=np.arange(samples),
        views=views,
    )
    assert isinstance(objective, MaeObjective)

    def loss(clips: Tensor) -> Tensor:
        result: Tensor = objective(clips, masks)["loss"]
        return result

    clips = samples * views
    return Method(
        objective=objective,
        target=None,
        clips=clips,
        loss=loss,
        flops_per_clip=objective.flops(masks) / clips,
    )
