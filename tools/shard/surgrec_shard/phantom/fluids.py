"""Smoke and blood: soft layers that the optics apply to the tissue."""

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import QUARTER, UNCHANGED, Color, disc
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.texture import tiling_noise

SMOKE: Color = (210, 205, 200)

TILE = 128
"""Side of the repeating noise that smoke is cut from, pixels."""

BLOOD = (0.22, 0.16, 0.62)
"""Shares of blue, green and red light that a pool reflects."""


class Smoke:
    """Smoke of electrocautery: two sheets of noise that drift past each other."""

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        self._height, self._width = size[0] // QUARTER, size[1] // QUARTER
        tile = cv2.convertScaleAbs(tiling_noise(random, (TILE, TILE), cell_px=64) + 1, alpha=127.5)
        self._sky = np.tile(tile, (self._height // TILE + 2, self._width // TILE + 2))
        self._across, self._up = random.uniform(-14, 14, size=2), random.uniform(18, 34, size=2)

    def at(self, time_s: float, density: float) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
        """Return the haze of smoke with a density in [0, 1]."""
        near, far = (self._sheet(self._across[i] * time_s, self._up[i] * time_s) for i in range(2))
        thick = cv2.multiply(near, far, scale=density / 255)
        return cv2.merge([cv2.convertScaleAbs(thick, alpha=level / 255) for level in SMOKE])

    def _sheet(self, x: float, y: float) -> UInt8[np.ndarray, "quarter_h quarter_w"]:
        top, left = round(y) % TILE, round(x) % TILE
        return self._sky[top : top + self._height, left : left + self._width]


def blood(
    size: tuple[int, int], spots: list[tuple[float, float, float]]
) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
    """Return the stain of pooled blood.

    Args:
        size: Height and width of the frame.
        spots: (x, y, radius) in pixels of the frame; near spots merge.
    """
    pool = np.zeros((size[0] // QUARTER, size[1] // QUARTER), np.uint8)
    for x, y, radius in spots:
        disc(pool, (x / QUARTER, y / QUARTER), radius / QUARTER, 255)

    # Blurred and then made steep again, near spots merge like drops.
    steep = np.clip(cv2.GaussianBlur(pool, (0, 0), 3).astype(np.float32) - 90, 0, 60) * (255 / 60)

    return cv2.merge(
        [
            cv2.convertScaleAbs(steep, alpha=(gain - 1) * UNCHANGED / 255, beta=UNCHANGED)
            for gain in BLOOD
        ]
    )
