"""Arrays of pixels as picture files."""

import io

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


def png(pixels: UInt8[np.ndarray, "h w c"]) -> bytes:
    """A PNG: small for few colors and hard edges."""
    return _encoded(pixels, format="PNG", optimize=True)


def jpeg(pixels: UInt8[np.ndarray, "h w c"], *, quality: int) -> bytes:
    """A JPEG, with the colors at full resolution."""
    return _encoded(pixels, format="JPEG", quality=quality, subsampling=0, optimize=True)


def frame_pixels(
    frame: Float[Tensor, "c h w"], most_px: int | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """A frame as picture files take it.

    Args:
        frame: RGB; what lies outside [0, 1] is cut off.
        most_px: A larger frame is reduced to this side.
    """
    pixels = rearrange(frame.clamp(0, 1) * 255, "c h w -> h w c").round().byte().numpy()
    if most_px is None or max(pixels.shape) <= most_px:
        return np.asarray(pixels)
    scale = most_px / max(pixels.shape)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _encoded(pixels: UInt8[np.ndarray, "h w c"], **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, **options)  # type: ignore[arg-type]  # PIL's options by format
    return buffer.getvalue()
