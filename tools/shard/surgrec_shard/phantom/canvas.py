"""What everything that draws agrees on: colors, places, levels, and drawing between pixels."""

import math

import numpy as np
from jaxtyping import Float, Int32, UInt8

from surgrec_shard.phantom.opencv import cv2

Color = tuple[int, int, int]
"""Blue, green, red in [0, 255]."""

Point = tuple[float, float]
"""x and y in pixels of the frame, from its upper left corner."""

QUARTER = 4
"""Soft layers have one pixel for this many of the frame, across and down."""

UNCHANGED = 128
"""The level of a light, a shadow or a stain that leaves the picture as it is."""

SUBPIXEL_BITS = 4
"""Shapes are drawn to 1/16 of a pixel, so that what moves slowly does not jitter."""


def fixed(points: Float[np.ndarray, "corners 2"]) -> Int32[np.ndarray, "corners 2"]:
    """Places as OpenCV draws them with `SUBPIXEL_BITS`."""
    places: Int32[np.ndarray, "corners 2"] = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)
    return places


def disc(
    layer: UInt8[np.ndarray, "h w"],
    center: Point,
    radius_px: float,
    level: int,
    *,
    thickness: int = cv2.FILLED,
) -> None:
    """Draws a disc, or with a thickness a ring, on a layer of one channel; places are pixels of that layer."""
    place = round(center[0] * 2**SUBPIXEL_BITS), round(center[1] * 2**SUBPIXEL_BITS)
    radius = round(radius_px * 2**SUBPIXEL_BITS)
    cv2.circle(layer, place, radius, (level,), thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def path(
    layer: UInt8[np.ndarray, "..."], points: list[Point], width_px: float, color: tuple[int, ...]
) -> None:
    """Draws a line through places, at least one pixel wide; places are pixels of that layer."""
    width = max(round(width_px), 1)
    cv2.polylines(layer, [fixed(np.array(points))], False, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def ahead(place: Point, heading: float, distance: float) -> Point:
    """The place that lies `distance` pixels away in the direction `heading` (radians, clockwise as seen)."""
    return place[0] + distance * math.cos(heading), place[1] + distance * math.sin(heading)


def heading_of(start: Point, end: Point) -> float:
    """The direction from one place to another, in radians."""
    return math.atan2(end[1] - start[1], end[0] - start[0])


def entering(entry: Point, place: Point, presence: float) -> Point:
    """On the way in from an entry to a place: at the place when `presence` is 1."""
    return entry[0] + (place[0] - entry[0]) * presence, entry[1] + (place[1] - entry[1]) * presence


def brighter(color: Color, gain: float) -> Color:
    """A color under more light, or under less."""
    blue, green, red = (min(round(level * gain), 255) for level in color)
    return blue, green, red
