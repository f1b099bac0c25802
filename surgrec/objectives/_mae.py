"""VideoMAE's objective: predict the normalized pixels of hidden tubelets from visible ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, TypedDict

import numpy as np
import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from surgrec.masks import Masks, TubeletGrid, tube_masks
from surgrec.models import Decoder, DecoderConfig, Encoder, EncoderConfig, State
from surgrec.models.tokens import ids_on_device, take_tokens
from surgrec.normalize import RGB_STD
from surgrec.objectives._flops import mae_flops_per_clip
from surgrec.objectives._nearest import nearest_tokens
from surgrec.objectives._objective import HeadWeights, Objective
from surgrec.ranges import Range, check_ranges

_EPS = 1e-6
"""Added to a tubelet's standard deviation, so that a flat tubelet does not divide by zero."""
_CLIPS_AT_ONCE = 8
"""Clips whose pixels are compared at once in diagnostics."""


@dataclass(frozen=True, kw_only=True)
class MaeObjectiveConfig:
    """Masks and decoder. Defaults are VideoMAE's for ViT-B (arXiv:2203.12602)."""

    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    """Size of the decoder."""

    mask_ratio: Annotated[float, Range(0, 1, above=True, below=True)] = 0.9
    """Share of tubelets that is hidden; the same positions in all frames."""

    decoder_mask_ratio: Annotated[float, Range(0, 1, below=True)] = 0.0
    """Share of all tubelets that is not decoded. VideoMAE v2 skips half of them, VideoMAE none."""

    def __post_init__(self) -> None:
        check_ranges(self)


class MaeLosses(TypedDict):
    """Losses of one batch, from `MaeObjective`."""

    loss: Float[Tensor, ""]
    """Mean over the clips of the batch: the loss to minimize."""

    loss_per_sample: Float[Tensor, " b"]
    """Loss of each clip, without gradient."""

    mean_baseline_loss: Float[Tensor, ""]
    """Loss of predicting each tubelet's mean color: near 1, less if tubelets are flat. No
    gradient."""


class MaeObjective(nn.Module, Objective):
    """Encoder, decoder and loss of an MAE. The encoder sees visible tubelets only.

    Example:
        >>> objective = MaeObjective(encoder, config)
        >>> masks = mae_masks(config, encoder.config.grid, seed=0, positions=np.arange(8))
        >>> objective(clips, masks)["loss"].backward()
    """

    head_name: ClassVar[str] = "decoder"

    def __init__(self, encoder: Encoder, config: MaeObjectiveConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = Decoder(config.decoder, encoder.config)

    def forward(self, clips: Float[Tensor, "b c t h w"], masks: Masks) -> MaeLosses:
        """Return the squared distance between predicted and normalized pixels.

        The loss of a clip is the mean over its target tubelets.

        Args:
            clips: Normalized frames, from `to_model_input`.
            masks: From `mae_masks`, one row per clip.
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
        """Return predicted normalized pixels of the tubelets in `masks.target_index`."""
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
    def diagnostics(
        self, losses: MaeLosses, clips: Float[Tensor, "b c t h w"], masks: Masks
    ) -> dict[str, float]:
        """Return the losses of two trivial predictors, and numbers of tokens.

        `mean_baseline_loss` is the loss of predicting each tubelet's mean color, and
        `copy_baseline_loss` that of copying the normalized pixels of the nearest visible tubelet.

        Args:
            losses: Of the clips.
            clips: Normalized frames.
            masks: From `mae_masks`, for the same clips.
        """
        context_index = ids_on_device(masks.context_index, clips.device)
        target_index = ids_on_device(masks.target_index, clips.device)
        _, nearest = nearest_tokens(self.encoder.config.grid, target_index, context_index)

        # A few clips at a time: their pixels in float32 would fill the memory of a large batch.
        copies = 0.0
        for begin in range(0, len(clips), _CLIPS_AT_ONCE):
            rows = slice(begin, begin + _CLIPS_AT_ONCE)
            pixels = pixel_targets(clips[rows], self.encoder.config)
            errors = take_tokens(pixels, nearest[rows]) - take_tokens(pixels, target_index[rows])
            copies += float(errors.square().mean()) * len(pixels)
        return {
            "mean_baseline_loss": float(losses["mean_baseline_loss"]),
            "copy_baseline_loss": copies / len(clips),
            "context_tokens": float(masks.context_index.shape[1]),
            "target_tokens": float(masks.target_index.shape[1]),
        }

    @property
    def head(self) -> Decoder:
        """The decoder."""
        return self.decoder

    @property
    def has_fixed_shapes(self) -> bool:
        """True: all tube masks of a run have the same lengths."""
        return True

    def head_options(self) -> Mapping[str, int]:
        """Return heads and depth of the decoder. See `Objective.head_options`."""
        config = self.decoder.config
        return {"decoder_heads": config.num_heads, "decoder_depth": config.depth}

    def head_mismatch(self, saved: DecoderConfig, saved_encoder: EncoderConfig) -> str | None:
        """Return why a pretrained decoder does not fit. See `Objective.head_mismatch`."""
        crop_px = self.encoder.config.crop_px
        if saved_encoder.crop_px != crop_px:
            return (
                f"crop_px is {saved_encoder.crop_px} in the file, {crop_px} in the config, and a "
                "decoder's flat sinusoids fit one frame size only"
            )
        return self.decoder.config.weight_differences(saved)

    def fit_head_weights(self, tensors: State) -> HeadWeights:
        """Return the decoder tensors unchanged: they fit as they are."""
        return HeadWeights(tensors=tensors)

    def flops(self, masks: Masks) -> float:
        """Return the floating-point operations of one training step on a batch with these masks."""
        num_clips, num_visible = masks.context_index.shape
        num_unscored = 0 if masks.unscored_index is None else masks.unscored_index.shape[1]
        per_clip = mae_flops_per_clip(
            self.encoder.config,
            self.decoder.config,
            num_visible,
            masks.target_index.shape[1],
            num_unscored,
        )
        return float(num_clips * per_clip)


@torch.no_grad()
def pixel_targets(
    clips: Float[Tensor, "b c t h w"], encoder: EncoderConfig
) -> Float32[Tensor, "b n p"]:
    """Return the pixels of every tubelet, each color normalized within the tubelet.

    Each color has mean 0 and standard deviation 1. Pixels are normalized from [0, 1], not from the
    model's input. Channels vary fastest, then columns, rows and frames.

    Args:
        clips: Normalized frames, as the model takes them.
        encoder: Config of the encoder, for the size of a tubelet.

    Source: VideoMAE, arXiv:2203.12602, section 3.3, with the per-tubelet normalization of MAE,
    arXiv:2111.06377, section 4.1.
    """
    pixels = rearrange(
        clips.float(),
        "b c (t i) (h j) (w k) -> b (t h w) c (i j k)",
        i=encoder.tubelet_size,
        j=encoder.patch_size,
        k=encoder.patch_size,
    )

    # The scale of the model's input cancels, but for the epsilon, which belongs to [0, 1].
    spread, center = torch.std_mean(pixels, dim=3, keepdim=True)
    for channel, std in enumerate(RGB_STD):
        spread[:, :, channel] += _EPS / std
    normalized: Float32[Tensor, "b n p"] = rearrange(
        (pixels - center) / spread, "b n c p -> b n (p c)"
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
    """Return the masks of the samples at these positions.

    Args:
        config: Mask ratios.
        grid: Grid of the clips.
        seed: Seed of the run.
        positions: Positions of the batch in the stream.
        views: Rows per sample, next to each other.
    """
    return tube_masks(
        grid,
        config.mask_ratio,
        seed=seed,
        positions=positions,
        decoder_ratio=config.decoder_mask_ratio,
        views=views,
    )
