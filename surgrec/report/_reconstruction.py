"""Convert the input and the prediction of an MAE to pixels."""

from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Float32
from torch import Tensor

from surgrec.masks import Masks
from surgrec.models import EncoderConfig
from surgrec.normalize import denormalize

HIDDEN_GRAY = 0.86
"""Lightness of a hidden tubelet: a light gray that no organ has."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """The same clips in four versions, RGB in about [0, 1]."""

    original: Float32[Tensor, "b c t h w"]
    masked: Float32[Tensor, "b c t h w"]
    """Hidden tubelets are gray."""
    mean_color: Float32[Tensor, "b c t h w"]
    """Baseline: hidden tubelets have their mean color. The model learned any detail beyond it."""
    predicted: Float32[Tensor, "b c t h w"]
    """Hidden tubelets are predicted; visible ones are original."""


@torch.no_grad()
def reconstruct(
    clips: Float[Tensor, "b c t h w"],
    predictions: Float[Tensor, "b m p"],
    masks: Masks,
    encoder: EncoderConfig,
) -> Reconstruction:
    """Insert predictions of normalized pixels into their clips.

    The objective normalizes each target by the mean and the deviation of each color in its tubelet
    (`pixel_targets`), so the model does not predict them. They are taken from the original.

    Args:
        clips: Normalized frames.
        predictions: Normalized pixels of the hidden tubelets, in the order of `masks.target_index`.
        masks: One row per clip.
        encoder: Gives the size of a tubelet.
    """
    original = denormalize(clips)
    tubelets = _to_tubelets(original, encoder)

    index = torch.as_tensor(masks.target_index, device=clips.device)
    hidden = repeat(index, "b m -> b m p c", p=tubelets.shape[2], c=3)
    deviation, mean = torch.std_mean(torch.gather(tubelets, 1, hidden), dim=2, keepdim=True)
    pixels = rearrange(predictions.float(), "b m (p c) -> b m p c", c=3) * deviation + mean

    return Reconstruction(
        original=original,
        masked=_to_frames(tubelets.scatter(1, hidden, HIDDEN_GRAY), encoder),
        mean_color=_to_frames(tubelets.scatter(1, hidden, mean.expand_as(hidden)), encoder),
        predicted=_to_frames(tubelets.scatter(1, hidden, pixels), encoder),
    )


def _to_tubelets(
    pixels: Float32[Tensor, "b c t h w"], encoder: EncoderConfig
) -> Float32[Tensor, "b n p c"]:
    """Group pixels by tubelet, in the order of the objective's targets."""
    size = {"i": encoder.tubelet_size, "j": encoder.patch_size, "k": encoder.patch_size}
    tubelets: Float32[Tensor, "b n p c"] = rearrange(
        pixels, "b c (t i) (h j) (w k) -> b (t h w) (i j k) c", **size
    )
    return tubelets


def _to_frames(
    tubelets: Float32[Tensor, "b n p c"], encoder: EncoderConfig
) -> Float32[Tensor, "b c t h w"]:
    """Invert `_to_tubelets`."""
    grid = encoder.grid
    size = {"i": encoder.tubelet_size, "j": encoder.patch_size, "k": encoder.patch_size}
    size |= {"t": grid.frames, "h": grid.height, "w": grid.width}
    frames: Float32[Tensor, "b c t h w"] = rearrange(
        tubelets, "b (t h w) (i j k) c -> b c (t i) (h j) (w k)", **size
    )
    return frames
