"""What an MAE is shown, and what it makes of it, as pixels."""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Float32
from torch import Tensor

from surgrec.masks import Masks
from surgrec.models import EncoderConfig
from surgrec.models.tokens import ids_on_device
from surgrec.normalize import denormalize

HIDDEN_GRAY = 0.86
"""Lightness of a hidden tubelet: that of paper, as no organ is."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The same clips, seen in four ways, RGB in about [0, 1]."""

    original: Float32[Tensor, "b c t h w"]
    masked: Float32[Tensor, "b c t h w"]
    """The hidden tubelets in gray."""
    mean_color: Float32[Tensor, "b c t h w"]
    """The hidden tubelets in their mean color: a prediction shows what was learned by what it has beyond this."""
    predicted: Float32[Tensor, "b c t h w"]
    """The hidden tubelets as predicted, the visible ones as they are."""


@torch.no_grad()
def reconstruct(
    clips: Float[Tensor, "b c t h w"],
    predictions: Float[Tensor, "b m p"],
    masks: Masks,
    encoder: EncoderConfig,
) -> Reconstruction:
    """Predictions of normalized pixels put back into their clips.

    Each predicted tubelet takes the mean and the deviation of each color from the original: the objective normalizes
    them away (`pixel_targets`), so nothing predicts them.

    Args:
        clips: Normalized frames.
        predictions: Of the hidden tubelets, in the order of `masks.target_index`.
        masks: One row per clip.
        encoder: Gives the tubelets.
    """
    original = denormalize(clips)
    tubelets = _tubelets(original, encoder)
    hidden = repeat(
        ids_on_device(masks.target_index, clips.device), "b m -> b m p c", p=tubelets.shape[2], c=3
    )
    spread, center = torch.std_mean(torch.gather(tubelets, 1, hidden), dim=2, keepdim=True)
    pixels = rearrange(predictions.float(), "b m (p c) -> b m p c", c=3) * spread + center
    return Reconstruction(
        original=original,
        masked=_frames(tubelets.scatter(1, hidden, HIDDEN_GRAY), encoder),
        mean_color=_frames(tubelets.scatter(1, hidden, center.expand_as(hidden)), encoder),
        predicted=_frames(tubelets.scatter(1, hidden, pixels), encoder),
    )


def _tubelets(
    pixels: Float32[Tensor, "b c t h w"], encoder: EncoderConfig
) -> Float32[Tensor, "b n p c"]:
    """Pixels by tubelet, in the order of the objective's targets."""
    size = {"i": encoder.tubelet_size, "j": encoder.patch_size, "k": encoder.patch_size}
    tubelets: Float32[Tensor, "b n p c"] = rearrange(
        pixels, "b c (t i) (h j) (w k) -> b (t h w) (i j k) c", **size
    )
    return tubelets


def _frames(
    tubelets: Float32[Tensor, "b n p c"], encoder: EncoderConfig
) -> Float32[Tensor, "b c t h w"]:
    """The way back from `_tubelets`."""
    grid = encoder.grid
    size = {"i": encoder.tubelet_size, "j": encoder.patch_size, "k": encoder.patch_size}
    frames: Float32[Tensor, "b c t h w"] = rearrange(
        tubelets,
        "b (t h w) (i j k) c -> b c (t i) (h j) (w k)",
        t=grid.frames,
        h=grid.height,
        w=grid.width,
        **size,
    )
    return frames
