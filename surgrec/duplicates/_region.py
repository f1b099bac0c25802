"""The part of a video's pictures that shows the patient: without borders and dark corners."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, UInt8

_SAMPLES = 400
"""Frames that the region is computed from."""
_BRIGHTEST_BLACK = 64.0
"""Borders are darker than this gray level, also in a copy with other brightness."""
_ABOVE_BLACK = 12.0
"""Gray levels above the border at which a pixel is lit."""
_CORNER = 0.06
"""Side of a corner that must be lit, as a share of the region's."""
_SMALLEST = 0.6
"""Smallest side of the square, as a share of the lit area's shorter side. A circle needs 0.71."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a rectangle, in shares of its sides."""

    y: float = 0.0
    """From -1 (at the upper edge) to 1 (at the lower edge)."""
    x: float = 0.0
    """From -1 (at the left edge) to 1 (at the right edge)."""
    height: float = 1.0
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle in a picture, pixels."""

    center_y: float
    center_x: float
    half_height: float
    half_width: float

    def part(self, window: Window) -> "Region":
        """Return a window of the rectangle."""
        return Region(
            center_y=self.center_y + window.y * (1 - window.height) * self.half_height,
            center_x=self.center_x + window.x * (1 - window.width) * self.half_width,
            half_height=window.height * self.half_height,
            half_width=window.width * self.half_width,
        )


def picture_region(frames: UInt8[np.ndarray, "n h w"]) -> Region:
    """Return the lit rectangle of a video, or the largest square inside a lit circle.

    It stays about the same if borders are cut or added.

    Args:
        frames: Gray pictures of one video.
    """
    sampled = frames[:: max(1, len(frames) // _SAMPLES)]
    lit = _lit_pixels(sampled)

    # Text on a border lights few pixels of its rows and columns.
    rows, columns = lit.sum(axis=1), lit.sum(axis=0)
    rows_inside = np.flatnonzero(rows > 0.3 * rows.max())
    columns_inside = np.flatnonzero(columns > 0.3 * columns.max())
    if not len(rows_inside):
        rows_inside, columns_inside = np.arange(lit.shape[0]), np.arange(lit.shape[1])
    top, bottom = float(rows_inside[0]), float(rows_inside[-1] + 1)
    left, right = float(columns_inside[0]), float(columns_inside[-1] + 1)
    box = Region(
        center_y=(top + bottom) / 2,
        center_x=(left + right) / 2,
        half_height=(bottom - top) / 2,
        half_width=(right - left) / 2,
    )

    # A rectangular picture is used whole. In a circle, the square inside does not depend on how
    # much of the circle a copy shows.
    if _has_lit_corners(lit, box):
        return box
    half = min(box.half_height, box.half_width)
    square = replace(box, half_height=half, half_width=half)
    for share in np.arange(1.0, _SMALLEST, -0.02).tolist():
        region = square.part(Window(height=share, width=share))
        if _has_lit_corners(lit, region):
            return region
    return square.part(Window(height=_SMALLEST, width=_SMALLEST))


def _lit_pixels(frames: UInt8[np.ndarray, "n h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which pixels are lit about as often as others. A few white frames do not matter."""
    mean = _mean(frames.astype(np.float32))
    black = min(float(np.percentile(mean, 1)), _BRIGHTEST_BLACK)
    share = _mean(frames > black + _ABOVE_BLACK)
    lit: Bool[np.ndarray, "h w"] = share > 0.5 * np.percentile(share, 90)
    return lit


def _mean(values: np.ndarray) -> Float64[np.ndarray, "h w"]:
    return np.asarray(values.mean(axis=0), dtype=np.float64)


def _has_lit_corners(lit: Bool[np.ndarray, "h w"], region: Region) -> bool:
    top, left = int(region.center_y - region.half_height), int(region.center_x - region.half_width)
    bottom = int(np.ceil(region.center_y + region.half_height))
    right = int(np.ceil(region.center_x + region.half_width))
    size = max(2, int(_CORNER * 2 * region.half_height))
    return all(
        lit[y, x].mean() > 0.7
        for y in (slice(top, top + size), slice(bottom - size, bottom))
        for x in (slice(left, left + size), slice(right - size, right))
    )
