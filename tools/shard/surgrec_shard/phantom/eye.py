"""An eye, painted once per case: pupil, iris, sclera, lids under a drape, and a speculum."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import Color, ahead
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.sketch import Sketch
from surgrec_shard.phantom.texture import (
    blended,
    colored,
    gloss,
    jittered,
    noise,
    shaded,
    slopes,
    step,
    tiling_noise,
    vessels,
)

SCLERA: list[Color] = [(130, 146, 190), (176, 190, 218), (206, 214, 228)]

REFLEX: list[Color] = [(18, 16, 48), (24, 42, 120), (46, 84, 172)]
"""Red reflex of the retina, from the rim of the pupil to its middle."""

IRISES: tuple[list[Color], ...] = (
    [(28, 46, 74), (44, 74, 112), (70, 104, 142)],
    [(92, 84, 66), (140, 128, 104), (178, 170, 150)],
    [(52, 78, 74), (80, 116, 112), (110, 150, 150)],
)
"""Brown, blue, hazel."""

DRAPES: tuple[list[Color], ...] = (
    [(84, 62, 30), (150, 118, 66), (196, 170, 120)],
    [(70, 84, 52), (120, 138, 96), (168, 180, 146)],
    [(74, 92, 136), (112, 136, 186), (160, 178, 216)],
)
"""Blue, green, and clear over skin."""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """Radii of an eye, pixels."""

    limbus_px: float
    """Border between iris and sclera."""
    pupil_px: float


def painted_eye(
    random: np.random.Generator, size: tuple[int, int], anatomy: Anatomy
) -> tuple[UInt8[np.ndarray, "sheet_h sheet_w 3"], UInt8[np.ndarray, "sheet_h sheet_w"]]:
    """Return a picture with the eye in its middle, and its wet highlights."""
    height, width = size
    limbus, pupil = anatomy.limbus_px, anatomy.pupil_px

    # Polar coordinates about the middle, and noise.
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    x, y = x - width / 2, y - height / 2
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    fine, coarse = (
        noise(random, size, cell_px=22, octaves=4),
        noise(random, size, cell_px=120, octaves=2),
    )
    folds = noise(random, size, cell_px=160, octaves=4)

    # Paint sclera, iris, reflex and drape.
    sclera = colored(0.5 * coarse + 0.3 * fine + 0.2, SCLERA)
    tree = vessels(random, size, roots=48, width_px=1.8) * np.clip(
        (radius / limbus - 0.95) * 1.2, 0, 0.75
    )
    sclera = blended(sclera, np.full_like(sclera, (60, 50, 176)), tree)

    fibres = tiling_noise(random, (128, 1024), cell_px=16, octaves=3)
    around, outwards = (angle / (2 * math.pi) + 0.5) * 1023, np.clip(radius / limbus * 40, 0, 127)
    spokes = cv2.remap(fibres, around, outwards, cv2.INTER_LINEAR)
    iris = colored(
        0.9 * spokes + 0.25 * fine, jittered(random, IRISES[int(random.integers(len(IRISES)))])
    )

    reflex = colored(
        1 - 2 * np.clip(radius / (1.25 * pupil), 0, 1) + 0.12 * coarse, jittered(random, REFLEX)
    )
    drape = colored(folds, DRAPES[int(random.integers(len(DRAPES)))])

    # Put them over each other, from the sclera up to the drape.
    opening = (x / (2.0 * limbus)) ** 2 + (y / (1.34 * limbus)) ** 2 + 0.12 * coarse
    covered = step(opening, 1.0, 1.08)
    picture = blended(sclera, iris, step(-radius, -limbus * 1.03, -limbus * 0.93))
    picture = blended(picture, reflex, step(1.5 * fine - radius, -pupil - 2, -pupil + 1))
    picture = blended(picture, drape, covered)

    # Light the relief of folds and lids.
    lid = np.exp(-(((opening - 1.02) / 0.1) ** 2))
    slope = slopes(12 * folds * covered + 9 * lid + 0.5 * fine, 5.0)
    picture = shaded(picture, slope, 0.4)

    _draw_speculum(random, picture, limbus)
    return picture, cv2.convertScaleAbs(
        gloss(random, slope, at=(-0.15, -0.4), spread=0.1), alpha=0.7
    )


def _draw_speculum(
    random: np.random.Generator, picture: UInt8[np.ndarray, "sheet_h sheet_w 3"], limbus: float
) -> None:
    """Draw the wires that hold the lids open, above and below."""
    sketch = Sketch(picture)
    middle = picture.shape[1] / 2, picture.shape[0] / 2
    lean = random.uniform(-0.15, 0.15)

    for side in (-1, 1):
        turns = np.linspace(-0.55, 0.55, 16).tolist()
        wire = [
            ahead(middle, side * math.pi / 2 + lean + t, 1.36 * limbus * (1 + 0.12 * abs(t)))
            for t in turns
        ]
        leg = [wire[0], (wire[0][0] - side * 2.2 * limbus, wire[0][1] + side * 0.9 * limbus)]
        for part in (wire, leg):
            sketch.line(part, 0.09 * limbus, (92, 92, 94))
            sketch.line(part, 0.05 * limbus, (168, 168, 166))
            sketch.line(part, 1.0, (235, 235, 232))
