"""Random views of a clip: how each one is drawn, and how it is applied on the device.

A new augmentation changes this file only: `View` gets a field, `draw_view` draws it from the random
key, and `apply_view` (CPU) and `apply_views` (GPU) apply it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from surgrec.clips._crop import Box, multi_scale_crop, random_resized_crop
from surgrec.clips._resize import resize_together
from surgrec.errors import ConfigError
from surgrec.normalize import normalize, normalize_pixels
from surgrec.ranges import Range, check_ranges
from surgrec.stream import hash_int, hash_uniform

_CROP, _FLIP = 2, 3
"""Each random choice hashes the key of the view with its own number; 1 is the start time, drawn in
`_dataset.py`."""

VIEWS_VERSION = 1
"""Version of the views; raise it with every change of a position's start time, crop or flip."""


Share: TypeAlias = Annotated[float, Range(0, 1, above=True)]
Ratio: TypeAlias = Annotated[float, Range(0.01, 100)]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Distribution of the random views of a clip. The defaults are V-JEPA 2's."""

    crop: Literal["random_resized", "multi_scale"] = "random_resized"
    """`random_resized` (V-JEPA): any size and position within `scale` and `aspect_ratio`.
    `multi_scale` (VideoMAE): ten sizes at 13 positions."""
    scale: tuple[Share, Share] = (0.3, 1.0)
    """Range of the crop area as a share of the frame area. Used by `random_resized`."""
    aspect_ratio: tuple[Ratio, Ratio] = (0.75, 1.35)
    """Range of the crop's width / height. Used by `random_resized`."""
    flip: Annotated[float, Range(0, 1)] = 0.5
    """Probability of a horizontal flip."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("scale", "aspect_ratio"):
            smaller, larger = getattr(self, name)
            if smaller > larger:
                raise ConfigError(f"{name} is {smaller}, {larger}; give the smaller number first")


@dataclass(frozen=True, slots=True)
class View:
    """One random view of a clip, the same for all of its frames."""

    box: Box
    """The crop, in pixels of the stored frame. Applied by the decoder."""
    flip: bool
    """Whether the clip is mirrored horizontally. Applied by `apply_view` or `apply_views`."""


def draw_view(height: int, width: int, config: AugmentConfig, key: int) -> View:
    """Draw the view of a clip. The result depends on the arguments only.

    Args:
        height: Height of the stored frame, pixels.
        width: Width of the stored frame, pixels.
        config: Distribution to draw from.
        key: RNG key of the view, from `sample_key(seed, position, view)`.
    """
    crop_key = hash_int(key, _CROP)
    if config.crop == "multi_scale":
        box = multi_scale_crop(height, width, key=crop_key)
    else:
        box = random_resized_crop(
            height, width, scale=config.scale, aspect_ratio=config.aspect_ratio, key=crop_key
        )
    return View(box=box, flip=hash_uniform(key, _FLIP) < config.flip)


def apply_view(
    frames: UInt8[Tensor, "t c _ _"], view: View, crop_px: int, device: torch.device
) -> Float[Tensor, "c t h w"]:
    """Resize, normalize and flip frames that the decoder has already cropped to `view.box`.

    Args:
        frames: RGB in [0, 255].
        view: The view that the frames were cropped for.
        crop_px: Height and width of the result, pixels.
        device: Where the result is computed. Frames travel there as uint8.

    Returns:
        float32, normalized by `RGB_MEAN` and `RGB_STD`.
    """
    values = normalize(frames, crop_px, device)
    return rearrange(values.flip(-1) if view.flip else values, "t c h w -> c t h w")


def apply_views(
    frames: Sequence[UInt8[Tensor, "t c _ _"]],
    views: Sequence[View],
    crop_px: int,
    device: torch.device,
) -> Float[Tensor, "b c t h w"]:
    """Do what `apply_view` does for all clips of a batch at once, up to rounding.

    The number of operations does not grow with the batch: a GPU would wait for the start of each
    small one. A CPU is faster with `apply_view`.

    Args:
        frames: RGB in [0, 255], all clips of equal length.
        views: The view that each clip was cropped for.
        crop_px: Height and width of the result, pixels.
        device: Where the result is computed. Frames travel there as uint8.

    Returns:
        float32, normalized by `RGB_MEAN` and `RGB_STD`.
    """
    resized = resize_together(frames, [view.flip for view in views], crop_px, device)
    clips = normalize_pixels(rearrange(resized, "b t h w c -> b t c h w"))
    return rearrange(clips, "b t c h w -> b c t h w").contiguous()
