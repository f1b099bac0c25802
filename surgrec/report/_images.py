"""Encode pixels as pictures inside the page."""

import base64
import io

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor


def png(pixels: UInt8[np.ndarray, "h w c"]) -> str:
    """Return a PNG as a `data:` address. PNG suits few colors and sharp edges."""
    return _address(pixels, format="PNG", optimize=True)


def jpeg(pixels: UInt8[np.ndarray, "h w c"], *, quality: int) -> str:
    """Return a JPEG without color subsampling as a `data:` address."""
    return _address(pixels, format="JPEG", quality=quality, subsampling=0, optimize=True)


def to_pixels(
    frame: Float[Tensor, "c h w"], max_px: int | None = None
) -> UInt8[np.ndarray, "h w c"]:
    """Convert a frame to 8 bits.

    Args:
        frame: RGB; values outside [0, 1] are clipped.
        max_px: Reduce a larger frame to this side, in pixels.
    """
    pixels = rearrange(frame.clamp(0, 1) * 255, "c h w -> h w c").round().byte().numpy()
    if max_px is None or max(pixels.shape) <= max_px:
        return np.asarray(pixels)

    scale = max_px / max(pixels.shape)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))


def _address(pixels: UInt8[np.ndarray, "h w c"], *, format: str, **options: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format, **options)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"data:image/{format.lower()};base64,{content}"
