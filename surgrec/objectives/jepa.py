"""V-JEPA's objective: predict the target encoder's features of hidden tubelets from the visible ones."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypedDict

import torch
import torch.nn.functional as F
from einops import reduce
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks.groups import GroupMasks
from surgrec.masks.multiblock import LONG_RANGE, SHORT_RANGE, Masks, MultiblockConfig, Trim
from surgrec.models.encoder import Encoder
from surgrec.models.predictor import Predictor, PredictorConfig
from surgrec.models.tokens import ids_on_device, take_tokens


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

    def __post_init__(self) -> None:
        if not self.masks:
            raise ConfigError("masks is empty; give at least one mask configuration")
        if self.mask_group < 1:
            raise ConfigError(f"mask_group is {self.mask_group}; give at least 1")


class JepaLosses(TypedDict):
    """What `JepaObjective` returns."""

    loss: Float[Tensor, ""]
    """The mean over the batch's clips: the one to minimise."""

    loss_per_sample: Float[Tensor, " b"]
    """Of each clip, without gradient."""


class JepaObjective(nn.Module):
    """The trained half: context encoder and predictor. The target encoder is a copy that its owner averages."""

    def __init__(self, encoder: Encoder, config: JepaObjectiveConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = Predictor(config.predictor, encoder.config, num_mask_configs=len(config.masks))

    def forward(
        self, clips: Float[Tensor, "b c t h w"], targets: Float[Tensor, "b n d"], masks: Sequence[GroupMasks]
    ) -> JepaLosses:
        """The L1 distance between predicted and layer-normed target features.

        The loss is a mean over tokens and channels per clip and mask configuration, then over configurations, then over
        clips: a clip weighs the same in every mask group and on every rank.

        Args:
            clips: Normalised frames.
            targets: From `target_features`, of the same clips.
            masks: From `batch_masks`, covering the rows of the batch in order.
        """
        tokens = self.encoder.embed(clips)
        losses = []
        for group in masks:
            per_config = [
                self._clip_losses(tokens[group.rows], targets[group.rows], mask, mask_config)
                for mask_config, mask in enumerate(group.masks)
            ]
            losses.append(torch.stack(per_config).mean(dim=0))
        loss_per_sample = torch.cat(losses)
        assert len(loss_per_sample) == len(clips), "the mask groups cover the batch"
        return {"loss": loss_per_sample.mean(), "loss_per_sample": loss_per_sample.detach()}

    def _clip_losses(
        self, tokens: Float[Tensor, "b n d"], targets: Float[Tensor, "b n d"], masks: Masks, mask_config: int
    ) -> Float[Tensor, " b"]:
        context_index = ids_on_device(masks.context_index, tokens.device)
        target_index = ids_on_device(masks.target_index, tokens.device)
        context = self.encoder.encode(tokens, context_index)
        predictions = self.predictor(context, context_index, target_index, mask_config)
        # Gathered before the norm: a third to a half of the targets is not asked for.
        wanted = take_tokens(targets, target_index).float()
        wanted = F.layer_norm(wanted, wanted.shape[-1:])
        distances: Float[Tensor, " b"] = reduce((predictions.float() - wanted).abs(), "b m d -> b", "mean")
        return distances


@torch.no_grad()
def target_features(target_encoder: Encoder, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
    """Features of all tokens, which the predictor learns to predict; never part of a gradient."""
    features: Float[Tensor, "b n d"] = target_encoder(clips)
    return features
