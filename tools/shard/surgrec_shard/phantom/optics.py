"""Light, shadow, glints and haze over the tissue, and the field of view.

Soft layers are kept at a quarter of the frame's size, which costs little time.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import QUARTER, UNCHANGED, Point
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.sketch import Sketch


@dataclass(frozen=True, kw_only=True)
class Optics:
    """The light and the field of view of one case."""

    light: UInt8[np.ndarray, "quarter_h quarter_w 3"]
    """Gain of the light; 128 leaves the tissue unchanged."""
    mask: UInt8[np.ndarray, "h w 3"] | None = None
    """Field of view: 255 inside, 0 outside; None: the whole frame."""
    bar: UInt8[np.ndarray, "bar_h w 3"] | None = None
    """Bar of the console over the bottom of every picture."""

    def developed(
        self,
        sketch: Sketch,
        *,
        glints: UInt8[np.ndarray, "half_h half_w"],
        throw: Point,
        stain: UInt8[np.ndarray, "quarter_h quarter_w 3"] | None = None,
        haze: UInt8[np.ndarray, "quarter_h quarter_w 3"] | None = None,
    ) -> UInt8[np.ndarray, "h w 3"]:
        """Return the sketch under this light.

        Args:
            sketch: Tissue with the instruments drawn over it.
            glints: Highlights of the tissue, added to it and hidden by the instruments.
            throw: Displacement of shadows from the instruments, pixels.
            stain: Gain of the light under blood or a cloud; 128 leaves all of it.
            haze: Light added over everything: smoke, spray.
        """
        gain, frame = self.light, sketch.frame

        # Light on the tissue.
        shadow = sketch.shadow(throw)
        if shadow is not None:
            gain = cv2.multiply(gain, cv2.merge([shadow, shadow, shadow]), scale=1 / UNCHANGED)
        if stain is not None:
            gain = cv2.multiply(gain, sketch.spared(stain, UNCHANGED), scale=1 / UNCHANGED)
        full = (frame.shape[1], frame.shape[0])
        frame = cv2.multiply(frame, cv2.resize(gain, full), scale=1 / UNCHANGED)

        # Light from above it.
        bright = cv2.resize(sketch.spared(glints, 0), full)
        frame = cv2.add(frame, cv2.merge([bright, bright, bright]))
        if haze is not None:
            frame = cv2.add(frame, cv2.resize(haze, full))
        return self.framed(frame)

    def framed(self, frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """Cut a frame to the field of view, and add the bar of the console."""
        if self.mask is not None:
            frame = cv2.bitwise_and(frame, self.mask)
        if self.bar is not None:
            frame[-self.bar.shape[0] :] = self.bar
        return frame


def lamp(
    size: tuple[int, int],
    *,
    center: tuple[float, float] = (0.5, 0.5),
    falloff: float,
    tint: tuple[float, float, float],
    level: float = 1.0,
) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
    """Return the light of a lamp at the camera.

    Args:
        size: Height and width of the frame.
        center: Brightest point, x and y as shares of the frame.
        falloff: Loss of light in a corner, in [0, 1].
        tint: White balance: gains of blue, green and red.
        level: Exposure.
    """
    height, width = size[0] // QUARTER, size[1] // QUARTER
    x = (np.arange(width) / width - center[0]) * size[1] / size[0]
    y = (np.arange(height) / height - center[1])[:, None]
    bright = level * (1 - falloff * np.clip((x * x + y * y) / 0.7, 0, 1.25) ** 0.8)
    light: UInt8[np.ndarray, "quarter_h quarter_w 3"]
    light = np.clip(bright[..., None] * np.array(tint) * UNCHANGED, 0, 255).astype(np.uint8)
    return light


def field_of_view(
    size: tuple[int, int], *, center: Point, radius: float, sides: int = 90
) -> UInt8[np.ndarray, "h w 3"]:
    """Return the mask of a regular polygon that rests on a side; with many sides, a circle.

    Args:
        size: Height and width of the frame.
        center: Center, pixels.
        radius: Radius of its corners, pixels.
        sides: Number of sides.
    """
    mask = np.zeros((*size, 3), np.uint8)
    angles = 2 * math.pi * (np.arange(sides) + 0.5) / sides
    corners = np.stack(
        [center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=-1
    )
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], (255, 255, 255))
    return mask
