"""What lies between tissue and picture: light, shadow, glints, haze, and what frames the picture.

Everything soft is kept at a quarter of the frame's size, where it costs little.
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
    """One case's light and what frames its pictures."""

    light: UInt8[np.ndarray, "quarter_h quarter_w 3"]
    """128 leaves the tissue as it is painted."""
    mask: UInt8[np.ndarray, "h w 3"] | None = None
    """The field of view: 255 inside, 0 outside; None where the whole frame is seen."""
    bar: UInt8[np.ndarray, "bar_h w 3"] | None = None
    """Drawn by the console over the bottom of every picture."""

    def developed(
        self,
        sketch: Sketch,
        *,
        glints: UInt8[np.ndarray, "half_h half_w"],
        throw: Point,
        stain: UInt8[np.ndarray, "quarter_h quarter_w 3"] | None = None,
        haze: UInt8[np.ndarray, "quarter_h quarter_w 3"] | None = None,
    ) -> UInt8[np.ndarray, "h w 3"]:
        """The sketch under this light.

        Args:
            sketch: Tissue with the instruments drawn over it.
            glints: Highlights of the tissue, added to it and hidden by the instruments.
            throw: Where shadows fall, in pixels away from the instruments.
            stain: What blood or a cloud leaves of the light on the tissue; 128 leaves all.
            haze: Light added over everything: smoke, spray.
        """
        gain, frame = self.light, sketch.frame
        shadow = sketch.shadow(throw)
        if shadow is not None:
            gain = cv2.multiply(gain, cv2.merge([shadow, shadow, shadow]), scale=1 / UNCHANGED)
        if stain is not None:
            gain = cv2.multiply(gain, sketch.spared(stain, UNCHANGED), scale=1 / UNCHANGED)
        full = (frame.shape[1], frame.shape[0])
        frame = cv2.multiply(frame, cv2.resize(gain, full), scale=1 / UNCHANGED)
        bright = cv2.resize(sketch.spared(glints, 0), full)
        frame = cv2.add(frame, cv2.merge([bright, bright, bright]))
        if haze is not None:
            frame = cv2.add(frame, cv2.resize(haze, full))
        return self.framed(frame)

    def framed(self, frame: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
        """A frame as it reaches the recorder: cut to the field of view, the console's bar below."""
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
    """The light of a lamp at the camera.

    Args:
        size: Height and width of the frame.
        center: Where it is brightest, x and y as shares of the frame.
        falloff: How much darker a corner is, in [0, 1].
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
    """A mask of a regular polygon that stands on a side; with many sides, a circle. Center and radius are pixels."""
    mask = np.zeros((*size, 3), np.uint8)
    angles = 2 * math.pi * (np.arange(sides) + 0.5) / sides
    corners = np.stack(
        [center[0] + radius * np.cos(angles), center[1] + radius * np.sin(angles)], axis=-1
    )
    cv2.fillPoly(mask, [np.round(corners).astype(np.int32)], (255, 255, 255))
    return mask
