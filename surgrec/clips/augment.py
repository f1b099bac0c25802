"""Cropped frames to network input, on the device: resize, flip, normalise. All randomness was drawn before, by position."""

import functools
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from surgrec.clips.batch import ClipBatch
from surgrec.clips.crop import Box, multi_scale_crop, random_resized_crop
from surgrec.errors import ConfigError

# Statistics of ImageNet, which V-JEPA 2 and VideoMAE normalise with.
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


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
    return random_resized_crop(height, width, scale=config.scale, aspect_ratio=config.aspect_ratio, key=key)


def network_input(batch: ClipBatch, crop_px: int, device: torch.device) -> Float[Tensor, "b c t h w"]:
    """The clips of a batch, every view of each sample, as the network takes them: float32, normalised by RGB_MEAN and RGB_STD."""
    clips = []
    for frames, flipped in zip(batch.frames, batch.flipped, strict=True):
        values = network_frames(frames, crop_px, device)
        clips.append(rearrange(values.flip(-1) if flipped else values, "t c h w -> c t h w"))
    return torch.stack(clips)


def network_frames(frames: UInt8[Tensor, "t c _ _"], crop_px: int, device: torch.device) -> Float[Tensor, "t c h w"]:
    """Cropped frames of one size as the network takes them: float32, normalised by RGB_MEAN and RGB_STD.

    Frames travel as uint8, a quarter of the bytes; they are resized by bilinear interpolation without antialiasing.
    """
    mean, deviation = _statistics(device)
    values = frames.to(device, non_blocking=True).float()
    return (F.interpolate(values, size=(crop_px, crop_px), mode="bilinear", align_corners=False) - mean) / deviation


def clip_pixels(clips: Float[Tensor, "b c t h w"]) -> Float32[Tensor, "b c t h w"]:
    """Network input back as RGB in [0, 1]."""
    mean, deviation = _statistics(clips.device)
    return (clips.float() * deviation[:, None] + mean[:, None]) / 255


@functools.cache
def _statistics(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Mean and deviation for values in [0, 255]. Copied to the device once: the copy waits for all that is under way there."""
    mean, deviation = (torch.tensor(values, device=device).mul(255)[:, None, None] for values in (RGB_MEAN, RGB_STD))
    return mean, deviation
