"""Drawing of instruments on a frame. A sketch keeps their outlines, to throw a shadow."""

import numpy as np
from jaxtyping import Float, UInt8

from surgrec_shard.phantom.canvas import (
    QUARTER,
    SUBPIXEL_BITS,
    UNCHANGED,
    Color,
    Point,
    brighter,
    fixed,
    path,
)
from surgrec_shard.phantom.opencv import cv2

STEEL: Color = (178, 176, 172)
BLACK: Color = (44, 42, 42)
GRAY: Color = (112, 110, 106)
GOLD: Color = (70, 150, 190)

SHADED = 62
"""Level of a full shadow."""


class Sketch:
    """A frame to draw on, and the outlines of the drawn shapes."""

    def __init__(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        self.frame = frame
        self._outlines: list[Float[np.ndarray, "corners 2"]] = []

    def polygon(self, corners: list[Point], color: Color, *, casts: bool = True) -> None:
        """Draw a filled convex polygon. `casts`: it throws a shadow."""
        shape = np.array(corners)
        if casts:
            self._outlines.append(shape)
        _fill(self.frame, shape, color)

    def line(self, points: list[Point], width_px: float, color: Color) -> None:
        """Draw a wire or a thread, which is too thin to throw a shadow."""
        path(self.frame, points, width_px, color)

    def rod(
        self,
        start: Point,
        end: Point,
        width_start: float,
        width_end: float,
        color: Color,
        shine: float = 1.0,
    ) -> None:
        """Draw a round rod lit from the camera: its rims are dark, with a highlight along it."""
        along_x, along_y = end[0] - start[0], end[1] - start[1]
        length = max((along_x**2 + along_y**2) ** 0.5, 1e-6)
        across_x, across_y = -along_y / length, along_x / length

        # Paint from the rim inwards: (middle, half width, brightness) of strips, as shares of the
        # width.
        strips = (
            (0.0, 0.5, 0.45),
            (-0.03, 0.42, 0.7),
            (-0.06, 0.33, 0.9),
            (-0.1, 0.22, 1.0 + 0.25 * shine),
            (-0.14, 0.09, 1.0 + 0.6 * shine),
        )
        ends = (
            (start, width_start, -1),
            (end, width_end, -1),
            (end, width_end, 1),
            (start, width_start, 1),
        )

        for number, (middle, half, brightness) in enumerate(strips):
            corners = []
            for (x, y), width, side in ends:
                away = width * (middle + side * half)
                corners.append((x + away * across_x, y + away * across_y))
            self.polygon(corners, brighter(color, brightness), casts=number == 0)

    def shadow(self, throw: Point) -> UInt8[np.ndarray, "quarter_h quarter_w"] | None:
        """Return the soft shadow of all shapes, `throw` pixels away; None without shapes."""
        if not self._outlines:
            return None

        height, width = self.frame.shape[:2]
        layer = np.full((height // QUARTER, width // QUARTER), UNCHANGED, np.uint8)
        for outline in self._outlines:
            _fill(layer, (outline + throw) / QUARTER, (SHADED,))
        return self.spared(cv2.GaussianBlur(layer, (0, 0), 2.2), UNCHANGED)

    def spared(self, layer: UInt8[np.ndarray, "..."], level: int) -> UInt8[np.ndarray, "..."]:
        """Set a layer of any size to `level` where shapes are drawn. Return the layer."""
        share = layer.shape[0] / self.frame.shape[0]
        for outline in self._outlines:
            _fill(layer, outline * share, (level, level, level))
        return layer


def _fill(
    layer: UInt8[np.ndarray, "..."], shape: Float[np.ndarray, "corners 2"], color: tuple[int, ...]
) -> None:
    cv2.fillConvexPoly(layer, fixed(shape), color, cv2.LINE_AA, SUBPIXEL_BITS)
