"""Normalize pixels for a model, and back. Data and models share only this."""

import functools

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

# ImageNet's statistics, which V-JEPA 2 and VideoMAE use.
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


def normalize(
    frames: UInt8[Tensor, "t c _ _"], crop_px: int, device: torch.device
) -> Float[Tensor, "t c h w"]:
    """Resize frames and normalize them by RGB_MEAN and RGB_STD.

    Frames move to the device as uint8, a quarter of the bytes of float32. Resizing is bilinear,
    without antialiasing.

    Args:
        frames: Cropped RGB frames, 0 to 255.
        crop_px: Side of the square result, pixels.
        device: Device of the result.

    Returns:
        Float32 frames of `crop_px` x `crop_px`.
    """
    mean, std = _statistics(device)
    values = frames.to(device, non_blocking=True).float()
    resized = F.interpolate(values, size=(crop_px, crop_px), mode="bilinear", align_corners=False)
    return (resized - mean) / std


def denormalize(clips: Float[Tensor, "b c t h w"]) -> Float32[Tensor, "b c t h w"]:
    """Return normalized clips as RGB values from 0 to 1."""
    mean, std = _statistics(clips.device)
    return (clips.float() * std[:, None] + mean[:, None]) / 255


def _statistics(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Return mean and standard deviation of values from 0 to 255."""
    return _on_host() if device.type == "cpu" else _on_device(device)


def _on_host() -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    mean, std = (torch.tensor(values).mul(255)[:, None, None] for values in (RGB_MEAN, RGB_STD))
    return mean, std


@functools.cache
def _on_device(device: torch.device) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Return the statistics on a device, copied once: a copy waits for all work queued there."""
    mean, std = _on_host()
    return mean.to(device), std.to(device)
