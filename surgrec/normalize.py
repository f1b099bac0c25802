"""Normalize pixels for a model, and back. Data and models share only this."""

import functools
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

Channels: TypeAlias = tuple[float, float, float]
"""Values of red, green and blue."""

# ImageNet's statistics, which V-JEPA 2 and VideoMAE use.
RGB_MEAN = (0.485, 0.456, 0.406)
RGB_STD = (0.229, 0.224, 0.225)


def normalize(
    frames: UInt8[Tensor, "t c _ _"],
    crop_px: int,
    device: torch.device,
    *,
    interpolation: Literal["bilinear", "bicubic"] = "bilinear",
    antialias: bool = False,
    mean: Channels = RGB_MEAN,
    std: Channels = RGB_STD,
) -> Float[Tensor, "t c h w"]:
    """Resize frames and normalize them as an encoder expects them.

    Frames move to the device as uint8, a quarter of the bytes of float32. The defaults are those of
    SurgRec's own encoders.

    Args:
        frames: Cropped RGB frames, 0 to 255.
        crop_px: Side of the square result, pixels.
        device: Device of the result.
        interpolation: Of the resize. Values out of the range of pixels are cut.
        antialias: Resize as Pillow and the processors of Hugging Face do: fewer pixels are averages
            over all of the former ones, rounded to whole levels.
        mean: Mean of red, green and blue, which are in [0, 1].
        std: Their standard deviations.

    Returns:
        Float32 frames of `crop_px` x `crop_px`.
    """
    pixels = frames.to(device, non_blocking=True)
    if antialias:
        resized = _antialiased(pixels, crop_px, interpolation)
    else:
        resized = F.interpolate(
            pixels.float(), size=(crop_px, crop_px), mode=interpolation, align_corners=False
        )
    if interpolation == "bicubic":
        resized = resized.clamp(0, 255)
    return normalize_pixels(resized, mean=mean, std=std)


def normalize_pixels(
    frames: Float[Tensor, "*b c h w"], *, mean: Channels = RGB_MEAN, std: Channels = RGB_STD
) -> Float[Tensor, "*b c h w"]:
    """Normalize frames that have their final size.

    Args:
        frames: RGB, 0 to 255.
        mean: Mean of red, green and blue, which are in [0, 1].
        std: Their standard deviations.
    """
    means, deviations = _statistics(frames.device, mean, std)
    return (frames - means) / deviations


def _antialiased(
    frames: UInt8[Tensor, "t c _ _"], crop_px: int, interpolation: str
) -> Float[Tensor, "t c h w"]:
    """Return resized frames of whole levels, 0 to 255."""
    if frames.shape[-2:] == (crop_px, crop_px):
        return frames.float()
    size = (crop_px, crop_px)
    if frames.device.type == "cpu":  # a kernel for bytes, four times as fast as that for floats
        return F.interpolate(frames, size=size, mode=interpolation, antialias=True).float()
    resized = F.interpolate(frames.float(), size=size, mode=interpolation, antialias=True)
    return resized.round()


def denormalize(clips: Float[Tensor, "b c t h w"]) -> Float32[Tensor, "b c t h w"]:
    """Return normalized clips as RGB values from 0 to 1."""
    mean, std = _statistics(clips.device, RGB_MEAN, RGB_STD)
    return (clips.float() * std[:, None] + mean[:, None]) / 255


def _statistics(
    device: torch.device, mean: Channels, std: Channels
) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Return mean and standard deviation of values from 0 to 255."""
    return _on_host(mean, std) if device.type == "cpu" else _on_device(device, mean, std)


def _on_host(
    mean: Channels, std: Channels
) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    means, deviations = (torch.tensor(values).mul(255)[:, None, None] for values in (mean, std))
    return means, deviations


@functools.cache
def _on_device(
    device: torch.device, mean: Channels, std: Channels
) -> tuple[Float[Tensor, "3 1 1"], Float[Tensor, "3 1 1"]]:
    """Return the statistics on a device, copied once: a copy waits for all work queued there."""
    means, deviations = _on_host(mean, std)
    return means.to(device), deviations.to(device)
