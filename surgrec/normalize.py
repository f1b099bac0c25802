"""Normalize pixels for a model, and back: the one thing that data and models must agree on."""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

# Statistics of ImageNet, which V-JEPA 2 and VideoMAE normalize with.
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


def normalize(
    frames: UInt8[Tensor, "t c _ _"], crop_px: int, device: torch.device
) -> Float[Tensor, "t c h w"]:
    """Cropped frames of one size as the network takes them: float32, normalized by RGB_MEAN and RGB_STD.

    Frames travel as uint8, a quarter of the bytes; they are resized by bilinear interpolation without antialiasing.
    """
    mean, deviation = _statistics(device)
    values = frames.to(device, non_blocking=True).float()
    return (
        F.interpolate(values, size=(crop_px, crop_px), mode="bilinear", align_corners=False) - mean
    ) / deviation


def denormalize(clips: Float[Tensor, "b c t h w"]) -> Float32[Tensor, "b c t h w"]:
    """Network input back as RGB in [0, 1]."""
    mean, deviation = _statistics(clips.device)
    return (clips.float() * deviation[:, None] + mean[:, None]) / 255


@functools.cache
def _statistics(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Mean and deviation for values in [0, 255]. Copied to the device once: the copy waits for all that is under way there."""
    mean, deviation = (
        torch.tensor(values, device=device).mul(255)[:, None, None]
        for values in (RGB_MEAN, RGB_STD)
    )
    return mean, deviation
