"""Conventions of everything that draws: colors, points, levels, and subpixel drawing."""

import math

import numpy as np
from jaxtyping import Float, Int32, UInt8

from surgrec_shard.phantom.opencv import cv2

Color = tuple[int, int, int]
"""Blue, green, red in [0, 255]."""

Point = tuple[float, float]
"""x and y in pixels of the frame, from its upper left corner."""

QUARTER = 4
"""Soft layers are smaller than the frame by this factor, in both directions."""

UNCHANGED = 128
"""Level of a light, a shadow or a stain that does not change the picture."""

SUBPIXEL_BITS = 4
"""Shapes are drawn with a precision of 1/16 pixel, so that slow motions do not jitter."""


def fixed(points: Float[np.ndarray, "corners 2"]) -> Int32[np.ndarray, "corners 2"]:
    """Return points in the fixed-point format of OpenCV with `SUBPIXEL_BITS`."""
    scaled: Int32[np.ndarray, "corners 2"] = np.round(points * 2**SUBPIXEL_BITS).astype(np.int32)
    return scaled


def disc(
    layer: UInt8[np.ndarray, "h w"],
    center: Point,
    radius_px: float,
    level: int,
    *,
    thickness: int = cv2.FILLED,
) -> None:
    """Draw a disc, or with a thickness a ring, on a layer of one channel, in its pixels."""
    center_fixed = round(center[0] * 2**SUBPIXEL_BITS), round(center[1] * 2**SUBPIXEL_BITS)
    radius = round(radius_px * 2**SUBPIXEL_BITS)
    cv2.circle(layer, center_fixed, radius, (level,), thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def path(
    layer: UInt8[np.ndarray, "..."], points: list[Point], width_px: float, color: tuple[int, ...]
) -> None:
    """Draw a line through points, at least one pixel wide, in pixels of the layer."""
    width = max(round(width_px), 1)
    cv2.polylines(layer, [fixed(np.array(points))], False, color, width, cv2.LINE_AA, SUBPIXEL_BITS)


def ahead(point: Point, heading: float, distance: float) -> Point:
    """Return the point `distance` pixels away in a direction (radians, clockwise on the screen)."""
    return point[0] + distance * math.cos(heading), point[1] + distance * math.sin(heading)


def heading_of(start: Point, end: Point) -> float:
    """Return the direction from one point to another, radians."""
    return math.atan2(end[1] - start[1], end[0] - start[0])


def entering(entry: Point, target: Point, presence: float) -> Point:
    """Return a point between an entry (`presence` 0) and a target (`presence` 1)."""
    dx, dy = target[0] - entry[0], target[1] - entry[1]
    return entry[0] + dx * presence, entry[1] + dy * presence


def brighter(color: Color, gain: float) -> Color:
    """Return a color under more or less light."""
    blue, green, red = (min(round(level * gain), 255) for level in color)
    return blue, green, red
