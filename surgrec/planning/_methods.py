"""The training step of each method, as its recipe computes it, without data and without updates.

A new objective gets a branch here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import GroupMasks, Masks, heaviest_lengths
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
"""Mask groups over which the operations of a step are averaged."""
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

    The part of a JEPA has masks of the greatest lengths that its run meets (`heaviest_lengths`).

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
    masks = [_heaviest_group(config.encoder, options, samples)]

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
        flops_per_clip=objective.flops(_mask_groups(config.encoder, options, config.seed))
        / (_GROUPS * options.mask_group),
    )


@cache
def _mask_groups(
    encoder: EncoderConfig, options: JepaObjectiveConfig, seed: int
) -> list[GroupMasks]:
    """Return the first mask groups of a run."""
    positions = np.arange(_GROUPS * options.mask_group)
    return jepa_masks(options, encoder.grid, seed=seed, positions=positions)


@cache
def _heaviest_group(
    encoder: EncoderConfig, options: JepaObjectiveConfig, samples: int
) -> GroupMasks:
    """Return masks of the greatest lengths, for this many clips. Their ids are arbitrary.

    The cost of a token is the number of channels and blocks that it passes through.
    """
    predicted = float(options.predictor.width * options.predictor.depth)
    lengths = heaviest_lengths(
        encoder.grid,
        options.masks,
        mask_group=options.mask_group,
        context_cost=encoder.width * encoder.depth + predicted,
        target_cost=predicted,
    )
    ids = np.tile(np.arange(encoder.grid.num_tokens), (samples, 1))
    masks = tuple(
        Masks(context_index=ids[:, :context], target_index=ids[:, context : context + target])
        for context, target in lengths
    )
    return GroupMasks(rows=slice(0, samples), masks=masks)


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
