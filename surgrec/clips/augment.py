"""Cropped frames to network input, on the device: resize, flip, normalize. All randomness was drawn before, by position."""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.clips.batch import ClipBatch
from surgrec.clips.crop import Box, multi_scale_crop, random_resized_crop
from surgrec.errors import ConfigError
from surgrec.normalize import normalize


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Random view of a clip. Defaults are V-JEPA 2's."""

    crop: Literal["random_resized", "multi_scale"] = "random_resized"
    """V-JEPA's crop, of any size and place within `scale` and `aspect_ratio`, or VideoMAE's, of few sizes at 13 places."""
    scale: tuple[float, float] = (0.3, 1.0)
    """Range of the crop's area, as a share of the frame's; of `random_resized` crops."""
    aspect_ratio: tuple[float, float] = (0.75, 1.35)
    """Range of the crop's width / height; of `random_resized` crops."""
    flip: float = 0.5
    """Probability of a horizontal flip."""

    def __post_init__(self) -> None:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ConfigError(f"scale {self.scale} must be a range within (0, 1]")
        if not 0 < self.aspect_ratio[0] <= self.aspect_ratio[1] or not 0 <= self.flip <= 1:
            raise ConfigError(
                f"aspect_ratio {self.aspect_ratio} must be a positive range and flip {self.flip} in [0, 1]"
            )


def random_box(height: int, width: int, config: AugmentConfig, key: int) -> Box:
    """Where a frame of this size is cropped; depends on the config and the key alone."""
    if config.crop == "multi_scale":
        return multi_scale_crop(height, width, key=key)
    return random_resized_crop(
        height, width, scale=config.scale, aspect_ratio=config.aspect_ratio, key=key
    )


def to_model_input(
    batch: ClipBatch, crop_px: int, device: torch.device
) -> Float[Tensor, "b c t h w"]:
    """The clips of a batch, every view of each sample, as the network takes them: float32, normalized by RGB_MEAN and RGB_STD."""
    clips = []
    for frames, flipped in zip(batch.frames, batch.flipped, strict=True):
        values = normalize(frames, crop_px, device)
        clips.append(rearrange(values.flip(-1) if flipped else values, "t c h w -> c t h w"))
    return torch.stack(clips)
