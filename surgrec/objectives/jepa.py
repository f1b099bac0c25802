"""V-JEPA's objective: predict the target encoder's features of hidden tubelets from the visible ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import (
    LONG_RANGE,
    SHORT_RANGE,
    GroupMasks,
    Masks,
    MultiblockConfig,
    Trim,
    TubeletGrid,
    batch_masks,
)
from surgrec.models import Encoder, Predictor, PredictorConfig, ids_on_device, take_tokens
from surgrec.objectives.context_loss import ContextLossConfig, context_weight, nearness


@dataclass(frozen=True, kw_only=True)
class JepaObjectiveConfig:
    """What is predicted, and by what. Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1)."""

    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    """Size of the predictor."""

    masks: tuple[MultiblockConfig, ...] = (SHORT_RANGE, LONG_RANGE)
    """Mask configurations; every clip is masked by each of them."""

    mask_group: int = 24
    """Positions of the global order that share a block size and a trimmed length; the published batch per GPU."""

    trim: Trim = "prefix"
    """What is cut where masks of a group differ in length: `prefix` as published, or an unbiased `random` subset."""

    context: ContextLossConfig | None = None
    """V-JEPA 2.1's loss on visible tubelets, for a predictor with a `context_head`; None as V-JEPA 1 and 2 have it."""

    def __post_init__(self) -> None:
        if not self.masks:
            raise ConfigError("masks is empty; give at least one mask configuration")
        if self.mask_group < 1:
            raise ConfigError(f"mask_group is {self.mask_group}; give at least 1")
        if (self.context is not None) != self.predictor.context_head:
            raise ConfigError(
                f"context is {self.context} and predictor.context_head is {self.predictor.context_head}; V-JEPA 2.1 has both, "
                "V-JEPA 1 and 2 neither"
            )


class JepaLosses(TypedDict):
    """What `JepaObjective` returns."""

    loss: Float[Tensor, ""]
    """The mean over the batch's clips: the one to minimize."""

    loss_per_sample: Float[Tensor, " b"]
    """Of each clip, without gradient."""


class JepaObjective(nn.Module):
    """The trained half: context encoder and predictor. The target encoder is a copy that its owner averages."""

    def __init__(self, encoder: Encoder, config: JepaObjectiveConfig) -> None:
        super().__init__()
        self.context = config.context
        self.encoder = encoder
        self.predictor = Predictor(
            config.predictor, encoder.config, num_mask_configs=len(config.masks)
        )

    def forward(
        self,
        clips: Float[Tensor, "b c t h w"],
        targets: Float[Tensor, "b n e"],
        masks: Sequence[GroupMasks],
        step: int = 0,
    ) -> JepaLosses:
        """The L1 distance between predicted and layer-normed target features: of hidden tubelets, and of visible ones where
        there is a context loss.

        The loss is a mean over tokens and channels per clip and mask configuration, then over configurations, then over
        clips: a clip weighs the same in every mask group and on every rank.

        Args:
            clips: Normalized frames.
            targets: From `target_features`, of the same clips.
            masks: From `jepa_masks`, covering the rows of the batch in order.
            step: Sets the weight of the context loss.
        """
        tokens = self.encoder.embed(clips)
        losses = []
        for group in masks:
            per_config = [
                self._clip_losses(tokens[group.rows], targets[group.rows], mask, mask_config, step)
                for mask_config, mask in enumerate(group.masks)
            ]
            losses.append(torch.stack(per_config).mean(dim=0))
        loss_per_sample = torch.cat(losses)
        assert len(loss_per_sample) == len(clips), "the mask groups cover the batch"
        return {"loss": loss_per_sample.mean(), "loss_per_sample": loss_per_sample.detach()}

    def _clip_losses(
        self,
        tokens: Float[Tensor, "b n d"],
        targets: Float[Tensor, "b n e"],
        masks: Masks,
        mask_config: int,
        step: int,
    ) -> Float[Tensor, " b"]:
        context_index = ids_on_device(masks.context_index, tokens.device)
        target_index = ids_on_device(masks.target_index, tokens.device)
        context = self.encoder.encode_levels(tokens, context_index)
        if self.context is None:
            predictions = self.predictor(context, context_index, target_index, mask_config)
            return _per_clip(self._errors(predictions, targets, target_index))
        predictions, seen = self.predictor.predict_with_context(
            context, context_index, target_index, mask_config
        )
        errors = self._errors(seen, targets, context_index)
        if self.context.by_distance:
            near = nearness(self.encoder.config.grid, context_index, target_index)
            errors = errors * rearrange(near, "b k -> b k 1")
        hidden_loss = _per_clip(self._errors(predictions, targets, target_index))
        return hidden_loss + context_weight(self.context, step) * _per_clip(errors)

    def _errors(
        self,
        predictions: Float[Tensor, "b k e"],
        targets: Float[Tensor, "b n e"],
        index: Int64[Tensor, "b k"],
    ) -> Float32[Tensor, "b k e"]:
        """Distances of predictions to the targets there, whose levels are normed one by one."""
        # Gathered before the norm: a third to a half of the targets is not asked for.
        wanted = rearrange(
            take_tokens(targets, index).float(),
            "b k (level d) -> b k level d",
            d=self.encoder.config.width,
        )
        wanted = rearrange(F.layer_norm(wanted, wanted.shape[-1:]), "b k level d -> b k (level d)")
        return (predictions.float() - wanted).abs()


def _per_clip(errors: Float32[Tensor, "b k e"]) -> Float32[Tensor, " b"]:
    mean: Float32[Tensor, " b"] = reduce(errors, "b k e -> b", "mean")
    return mean


def jepa_masks(
    config: JepaObjectiveConfig, grid: TubeletGrid, *, seed: int, positions: Int64[np.ndarray, " b"]
) -> list[GroupMasks]:
    """The masks of the samples at these positions, as the objective's config has them."""
    return batch_masks(
        grid,
        config.masks,
        seed=seed,
        positions=positions,
        mask_group=config.mask_group,
        trim=config.trim,
    )


@torch.no_grad()
def target_features(
    target_encoder: Encoder, clips: Float[Tensor, "b c t h w"]
) -> Float[Tensor, "b n e"]:
    """Features of all tokens and levels, which the predictor learns to predict; never part of a gradient."""
    return target_encoder.encode_levels(target_encoder.embed(clips))
