"""The operating room, as a camera outside the body sees it: bright, blurred, and moving fast."""

import math

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import Color
from surgrec_shard.phantom.motion import Sway
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.texture import colored, noise

DRAPES: tuple[list[Color], ...] = (
    [(120, 92, 60), (176, 150, 112), (214, 200, 176)],
    [(96, 116, 76), (150, 168, 130), (200, 212, 190)],
)
"""Blue and green."""

SHAPES: tuple[Color, ...] = (
    (255, 255, 255),
    (150, 176, 222),
    (206, 214, 222),
    (70, 66, 64),
    (196, 204, 236),
)
"""Lamps, skin, gloves, dark corners, gauze."""


class Outside:
    """One room.

    Args:
        random: Draws colors, shapes and motion.
        size: Height and width of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        self._size = size

        # Paint drapes and shapes at a quarter of the size, then blur and enlarge them.
        small = size[0] // 4, size[1] // 4
        picture = colored(
            noise(random, small, cell_px=40, octaves=3), DRAPES[int(random.integers(2))]
        )
        for x, y, width, height, turn in random.uniform(0, 1, size=(24, 5)).tolist():
            center = round(x * small[1]), round(y * small[0])
            axes = round(3 + 13 * width), round(2 + 9 * height)
            color = SHAPES[int(random.integers(len(SHAPES)))]
            cv2.ellipse(picture, center, axes, 180 * turn, 0, 360, color, cv2.FILLED, cv2.LINE_AA)

        blurred = cv2.convertScaleAbs(cv2.GaussianBlur(picture, (0, 0), 2.2), alpha=1.1)
        self._picture = cv2.resize(
            blurred, (size[1] * 2, size[0] * 2), interpolation=cv2.INTER_CUBIC
        )

        self._sway = [
            Sway(random, size[1] * 0.4, rate_hz=0.5),
            Sway(random, size[0] * 0.4, rate_hz=0.5),
        ]
        self._roll = Sway(random, 0.5, rate_hz=0.3)

    def draw(self, time_s: float) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a time."""
        height, width = self._size
        turn = self._roll.at(time_s)
        cosine, sine = math.cos(turn), math.sin(turn)

        # Rotate about the middle of the frame, at a moving position of the picture.
        x, y = width + self._sway[0].at(time_s), height + self._sway[1].at(time_s)
        corner = (
            x - cosine * width / 2 + sine * height / 2,
            y - sine * width / 2 - cosine * height / 2,
        )
        pose = np.array([[cosine, -sine, corner[0]], [sine, cosine, corner[1]]])

        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(
            self._picture, pose, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT
        )
