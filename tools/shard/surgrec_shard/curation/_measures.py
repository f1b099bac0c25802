"""Measures of one stored frame. Whole numbers are added up, so every machine gets the same sums."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

Plane = UInt8[np.ndarray, "_ _"]

_BLACK, _RANGE = 16, 219
"""Luma of black, and from there to white, in yuv420p of limited range."""
_SHARE = 0.02
"""Share of the pixels at either end that does not count: a clock or a few words."""
_LINES = 32
"""About how many lines, and as many columns, show how blurred a frame is."""
_BOX = 9
"""Pixels over which a line is blurred again."""
_MOST_CHANGE = 8
"""Levels that count of the change of a pixel: a clock on a frozen picture changes few pixels."""


@dataclass(frozen=True, kw_only=True)
class FrameMeasures:
    """Measures of one frame, each from 0 to 1."""

    brightness: float
    """Mean brightness."""
    darkest: float
    """Brightness that 2 % of the pixels are below."""
    brightest: float
    """Brightness that 2 % of the pixels are above."""
    color_range: float
    """Range of the color of nearly all pixels."""
    blur: float
    """0: sharp; 1: without detail."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """The change between two frames, each measure from 0 to 1."""

    motion: float
    """Mean change of brightness."""
    clipped: float
    """The same, with at most 8 levels of any pixel."""


def planes_of(data: bytes, width: int, height: int) -> tuple[Plane, Plane, Plane]:
    """Return the planes of a frame in yuv420p; both sides are even."""
    pixels = np.frombuffer(data, np.uint8)
    luma, quarter = width * height, width * height // 4
    shape = (height // 2, width // 2)
    return (
        pixels[:luma].reshape(height, width),
        pixels[luma : luma + quarter].reshape(shape),
        pixels[luma + quarter :].reshape(shape),
    )


def measure(luma: Plane, blue: Plane, red: Plane) -> FrameMeasures:
    """Return the measures of one frame, from its planes in yuv420p of limited range."""
    counts = np.bincount(luma.ravel(), minlength=256)
    low, high = _ends(counts)
    spans = [_ends(np.bincount(plane.ravel(), minlength=256)) for plane in (blue, red)]
    mean = int(luma.sum(dtype=np.int64)) / luma.size
    return FrameMeasures(
        brightness=_share(mean),
        darkest=_share(low),
        brightest=_share(high),
        color_range=max(above - below for below, above in spans) / 255,
        blur=blur(luma),
    )


def change(before: Plane, after: Plane) -> Change:
    """Return the change between two luma planes."""
    levels = np.abs(before.astype(np.int16) - after)
    clipped = int(np.minimum(levels, _MOST_CHANGE).sum(dtype=np.int64))
    motion = int(levels.sum(dtype=np.int64)) / levels.size / _RANGE
    return Change(motion=min(1.0, motion), clipped=clipped / levels.size / _RANGE)


def blur(luma: Plane) -> float:
    """Return how blurred a picture is: 0 sharp, 1 without detail. Contrast has no influence.

    A picture that is blurred again loses much of its detail if it was sharp. The larger value of
    both directions counts, so motion blur shows. Source: Crete et al., The blur effect, 2007, with
    a mean over 9 pixels.
    """
    height, width = luma.shape
    return max(
        _line_blur(luma[:: max(1, height // _LINES)]),
        _line_blur(np.ascontiguousarray(luma[:, :: max(1, width // _LINES)].T)),
    )


def _line_blur(lines: Plane) -> float:
    if lines.shape[1] <= _BOX + 1:
        return 0.0
    sums = np.zeros((lines.shape[0], lines.shape[1] + 1), dtype=np.int32)
    np.cumsum(lines, axis=1, out=sums[:, 1:])
    means = sums[:, _BOX:] - sums[:, :-_BOX]  # times 9
    half = _BOX // 2

    detail = _BOX * np.abs(np.diff(lines[:, half:-half].astype(np.int32), axis=1))
    left = np.abs(np.diff(means, axis=1))
    total = int(detail.sum(dtype=np.int64))
    lost = int(np.maximum(detail - left, 0).sum(dtype=np.int64))
    return (total - lost) / total if total else 1.0


def _ends(counts: np.ndarray) -> tuple[int, int]:
    """Return the levels between which nearly all pixels are."""
    total = counts.cumsum()
    aside = int(total[-1] * _SHARE)
    return int(np.searchsorted(total, aside, "right")), int(
        np.searchsorted(total, total[-1] - aside)
    )


def _share(luma: int | float) -> float:
    return min(1.0, max(0.0, (luma - _BLACK) / _RANGE))
