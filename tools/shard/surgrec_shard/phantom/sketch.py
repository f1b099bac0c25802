"""Drawing on a frame with lit metal: a sketch remembers the outlines of what was drawn, so that it can throw a shadow."""

import math

import numpy as np
from jaxtyping import Float, Int32, UInt8

from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.texture import Colour

Point = tuple[float, float]

SUBPIXEL_BITS = 4
"""OpenCV draws at 1/16 of a pixel, so that slow instruments do not jitter."""

QUARTER = 4
"""Soft layers have one pixel for this many of the frame, across and down."""

UNCHANGED = 128
"""The level of a light, a shadow or a stain that leaves the picture as it is."""

STEEL: Colour = (178, 176, 172)
BLACK: Colour = (44, 42, 42)
GREY: Colour = (112, 110, 106)
GOLD: Colour = (70, 150, 190)


class Sketch:
    """A frame being drawn on, and the outlines of what was drawn."""

    def __init__(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        self.frame = frame
        self._outlines: list[Float[np.ndarray, "corners 2"]] = []

    def polygon(self, corners: list[Point], colour: Colour, *, casts: bool = True) -> None:
        """A filled convex shape."""
        shape = np.array(corners)
        if casts:
            self._outlines.append(shape)
        cv2.fillConvexPoly(self.frame, _fixed(shape), colour, cv2.LINE_AA, SUBPIXEL_BITS)

    def line(self, points: list[Point], width_px: float, colour: Colour) -> None:
        """A wire or a thread through the points."""
        path = [_fixed(np.array(points))]
        cv2.polylines(self.frame, path, False, colour, max(round(width_px), 1), cv2.LINE_AA, SUBPIXEL_BITS)

    def rod(
        self, start: Point, end: Point, width_start: float, width_end: float, colour: Colour, shine: float = 1.0
    ) -> None:
        """A round rod lit from the camera: dark at its rims, with a streak of light along it."""
        along = np.subtract(end, start)
        across = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-6)
        # Painted from the rim inwards: (middle, half width, brightness) of each strip, as shares of the width.
        strips = (
            (0.0, 0.5, 0.45),
            (-0.03, 0.42, 0.7),
            (-0.06, 0.33, 0.9),
            (-0.1, 0.22, 1.0 + 0.25 * shine),
            (-0.14, 0.09, 1.0 + 0.6 * shine),
        )
        for number, (middle, half, brightness) in enumerate(strips):
            sides = [
                np.add(place, across * width * offset)
                for place, width, offset in (
                    (start, width_start, middle - half),
                    (end, width_end, middle - half),
                    (end, width_end, middle + half),
                    (start, width_start, middle + half),
                )
            ]
            self.polygon([(float(x), float(y)) for x, y in sides], brighter(colour, brightness), casts=number == 0)

    def shadow(self, offset: Point) -> UInt8[np.ndarray, "quarter_h quarter_w"] | None:
        """The soft shadow of everything drawn, thrown `offset` pixels away (128 where no shadow falls)."""
        if not self._outlines:
            return None
        height, width = self.frame.shape[:2]
        mask = np.full((height // QUARTER, width // QUARTER), UNCHANGED, np.uint8)
        for outline in self._outlines:
            cv2.fillConvexPoly(mask, _fixed((outline + offset) / QUARTER), 62, cv2.LINE_AA, SUBPIXEL_BITS)
        return self.spared(cv2.GaussianBlur(mask, (0, 0), 2.2), UNCHANGED)

    def spared(self, layer: UInt8[np.ndarray, "..."], level: int) -> UInt8[np.ndarray, "..."]:
        """A layer of tissue (of any size) with `level` wherever something was drawn over it."""
        share = layer.shape[0] / self.frame.shape[0]
        for outline in self._outlines:
            cv2.fillConvexPoly(layer, _fixed(outline * share), (level, level, level), cv2.LINE_AA, SUBPIXEL_BITS)
        return layer


def entering(entry: Point, place: Point, presence: float) -> Point:
    """On the way in from an entry to a place: at the place when `presence` is 1."""
    return entry[0] + (place[0] - entry[0]) * presence, entry[1] + (place[1] - entry[1]) * presence


def heading_of(start: Point, end: Point) -> float:
    """The direction from one place to another, in radians."""
    return math.atan2(end[1] - start[1], end[0] - start[0])


def ahead(place: Point, heading: float, distance: float) -> Point:
    """The place that lies `distance` pixels away in the direction `heading`."""
    return place[0] + distance * math.cos(heading), place[1] + distance * math.sin(heading)


def brighter(colour: Colour, gain: float) -> Colour:
    """A colour under more light (or less)."""
    blue, green, red = (min(round(level * gain), 255) for level in colour)
    return blue, green, red


def _fixed(points: Float[np.ndarray, "corners 2"]) -> Int32[np.ndarray, "corners 2"]:
    fixed: Int32[np.ndarray, "corners 2"] = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)
    return fixed
