"""VideoMAE's objective: predict the normalized pixels of hidden tubelets from the visible ones."""

from dataclasses import dataclass, field
from typing import TypedDict

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import Masks, TubeletGrid, tube_masks
from surgrec.models import (
    Decoder,
    DecoderConfig,
    Encoder,
    EncoderConfig,
    ids_on_device,
    take_tokens,
)
from surgrec.normalize import denormalize

_EPS = 1e-6
"""Added to a tubelet's deviation, so that a flat one does not divide by zero."""


@dataclass(frozen=True, kw_only=True)
class MaeObjectiveConfig:
    """What is hidden, and what predicts it. Defaults are VideoMAE's for ViT-B (arXiv:2203.12602)."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Size of the decoder."""

    mask_ratio: float = 0.9
    """Share of a frame's tubelets that is hidden, the same ones along time."""

    decoder_mask_ratio: float = 0.0
    """Share of all tubelets that is not decoded either: VideoMAE v2 saves half of the decoder's work; VideoMAE has none."""

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise ConfigError(f"mask_ratio is {self.mask_ratio}; give a share between 0 and 1")
        if not 0 <= self.decoder_mask_ratio < 1:
            raise ConfigError(
                f"decoder_mask_ratio is {self.decoder_mask_ratio}; give a share from 0 to below 1"
            )


class MaeLosses(TypedDict):
    """What `MaeObjective` returns."""

    loss: Float[Tensor, ""]
    """The mean over the batch's clips: the one to minimize."""

    loss_per_sample: Float[Tensor, " b"]
    """Of each clip, without gradient."""

    mean_baseline_loss: Float[Tensor, ""]
    """What predicting each tubelet's mean color would cost: near 1, less where tubelets are flat. Without gradient."""


class MaeObjective(nn.Module):
    """All that is trained: the encoder, which sees what is visible, and the decoder."""

    def __init__(self, encoder: Encoder, config: MaeObjectiveConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(config.decoder, encoder.config)

    def forward(self, clips: Float[Tensor, "b c t h w"], masks: Masks) -> MaeLosses:
        """The squared distance between predicted and normalized pixels, a mean over each clip's target tubelets.

        Args:
            clips: Normalized frames, from `to_model_input`.
            masks: From `tube_masks`, one row per clip.
        """
        targets = take_tokens(
            pixel_targets(clips, self.encoder.config),
            ids_on_device(masks.target_index, clips.device),
        )
        errors = (self.predict(clips, masks).float() - targets).square()
        loss_per_sample = reduce(errors, "b m p -> b", "mean")
        return {
            "loss": loss_per_sample.mean(),
            "loss_per_sample": loss_per_sample.detach(),
            "mean_baseline_loss": targets.square().mean(),
        }

    def predict(self, clips: Float[Tensor, "b c t h w"], masks: Masks) -> Float[Tensor, "b m p"]:
        """Normalized pixels of the hidden tubelets, in the order of `masks.target_index`."""
        context_index = ids_on_device(masks.context_index, clips.device)
        target_index = ids_on_device(masks.target_index, clips.device)
        unscored_index = (
            None
            if masks.unscored_index is None
            else ids_on_device(masks.unscored_index, clips.device)
        )
        predictions: Float[Tensor, "b m p"] = self.decoder(
            self.encoder(clips, context_index), context_index, target_index, unscored_index
        )
        return predictions


@torch.no_grad()
def pixel_targets(
    clips: Float[Tensor, "b c t h w"], encoder: EncoderConfig
) -> Float32[Tensor, "b n p"]:
    """The pixels of every tubelet, each color shifted and scaled to mean 0 and deviation 1 within the tubelet.

    They are normalized from [0, 1], not as the network takes them; channels vary fastest, then columns, rows and frames.

    Source: VideoMAE, arXiv:2203.12602, section 3.3, with the per-tubelet normalization of MAE, arXiv:2111.06377, section 4.1.
    """
    pixels = rearrange(
        denormalize(clips),
        "b c (t i) (h j) (w k) -> b (t h w) (i j k) c",
        i=encoder.tubelet_size,
        j=encoder.patch_size,
        k=encoder.patch_size,
    )
    spread, center = torch.std_mean(pixels, dim=2, keepdim=True)
    normalized: Float32[Tensor, "b n p"] = rearrange(
        (pixels - center) / (spread + _EPS), "b n p c -> b n (p c)"
    )
    return normalized


def mae_masks(
    config: MaeObjectiveConfig,
    grid: TubeletGrid,
    *,
    seed: int,
    positions: Int64[np.ndarray, " b"],
    views: int = 1,
) -> Masks:
    """The masks of the samples at these positions, as the objective's config has them; `views` rows of each."""
    return tube_masks(
        grid,
        config.mask_ratio,
        seed=seed,
        positions=positions,
        decoder_ratio=config.decoder_mask_ratio,
        views=views,
    )
