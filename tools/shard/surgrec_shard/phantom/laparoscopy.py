"""Laparoscopy: a gallbladder between liver and fat, a swaying scope, and long instruments."""

import math

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import Point, entering
from surgrec_shard.phantom.domains import DOMAINS
from surgrec_shard.phantom.fluids import Smoke, blood
from surgrec_shard.phantom.instruments import grasper, hook, suction
from surgrec_shard.phantom.motion import Rhythm, Sway, eased, triangle
from surgrec_shard.phantom.optics import Optics, field_of_view, lamp
from surgrec_shard.phantom.phases import Moment
from surgrec_shard.phantom.sketch import BLACK, GOLD, STEEL, Sketch
from surgrec_shard.phantom.texture import (
    blended,
    colored,
    gloss,
    jittered,
    noise,
    shaded,
    slopes,
    step,
    vessels,
)
from surgrec_shard.phantom.tissue import Camera, Pull, Tissue

PAIR = DOMAINS["laparoscopy"].pair

STROKES_HZ = {
    "dissection": 1.3,
    "retraction": 0.2,
    "coagulation": 0.5,
    "irrigation": 0.35,
    "inspection": 0.0,
}
"""Strokes of the working tip, to and fro, per second. Only this distinguishes the first two."""


class Laparoscopy:
    """One gallbladder operation.

    Args:
        random: Draws organs, light, motion and instruments.
        size: Height and width of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        height, width = self._size = size

        # Tissue, light and motion.
        self._tissue = Tissue(
            random, *sheet(random, (round(height * 1.4), round(width * 1.3))), size
        )
        self.optics = _optics(random, size)
        self._smoke = Smoke(random, size)
        self._sway = [Sway(random, 9.0), Sway(random, 7.0), Sway(random, 0.03)]
        self._rhythms = [
            Rhythm(5.0, random.uniform(0.2, 0.32)),
            Rhythm(1.5, random.uniform(1.0, 1.4)),
        ]
        self._hold = Rhythm(4.0, 0.17)

        # Instruments and bleeding.
        self._start, self._lean = random.uniform(0, 1), random.uniform(-0.5, 0.5)
        self._target = width * random.uniform(0.44, 0.56), height * random.uniform(0.48, 0.6)
        self._entries = (
            (width * random.uniform(0.92, 1.1), height * random.uniform(0.85, 1.15)),
            (width * random.uniform(-0.12, 0.02), height * random.uniform(0.5, 1.0)),
        )
        self._width = height * random.uniform(0.055, 0.07)
        self._shaft = (BLACK, GOLD, STEEL)[int(random.integers(3))]
        x, y = width * random.uniform(0.35, 0.65), height * random.uniform(0.5, 0.7)
        self._spots = [
            (
                x + random.normal(0, 0.06 * width),
                y + random.normal(0, 0.05 * height),
                height * random.uniform(0.03, 0.1),
            )
            for _ in range(9)
        ]

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a moment."""
        camera, tip = self._camera(moment), self._tip(moment)
        bends = [rhythm.at(moment.time_s) for rhythm in self._rhythms]
        pull = self._pull(moment, tip) if moment.phase in PAIR else None
        frame, glints = self._tissue.render(camera, bends, pull)

        sketch = Sketch(frame)
        if moment.phase != "inspection":
            self._draw_instruments(sketch, moment, tip)

        haze = stain = None
        if moment.phase == "coagulation":
            haze = self._smoke.at(
                moment.time_s, 0.85 * eased(min(moment.since_s, moment.left_s) / 1.2)
            )
        if moment.phase in ("coagulation", "irrigation"):
            stain = self._blood(moment, camera)
        return self.optics.developed(
            sketch, glints=glints, throw=(-8.0, 13.0), stain=stain, haze=haze
        )

    def _camera(self, moment: Moment) -> Camera:
        """Return the pose of the camera, which circles during inspection."""
        x, y, roll = (sway.at(moment.time_s) for sway in self._sway)
        if moment.phase != "inspection":
            return Camera(x=x, y=y, roll=roll, zoom=1.08)
        turn, swing = 2 * math.pi * (0.16 * moment.time_s + self._start), moment.presence
        return Camera(
            x=x + 42 * swing * math.cos(turn),
            y=y + 22 * swing * math.sin(turn),
            roll=roll,
            zoom=1.08 - 0.06 * swing,
        )

    def _stroke(self, moment: Moment) -> Point:
        """Return the offset of the working tip from its target."""
        along = (
            0.34
            * self._size[0]
            * (triangle(STROKES_HZ[moment.phase] * moment.time_s + self._start) - 0.5)
        )
        return along * math.cos(self._lean), 0.7 * along * math.sin(self._lean)

    def _tip(self, moment: Moment) -> Point:
        dx, dy = self._stroke(moment)
        return entering(
            self._entries[0], (self._target[0] + dx, self._target[1] + dy), moment.presence
        )

    def _pull(self, moment: Moment, tip: Point) -> Pull:
        dx, dy = self._stroke(moment)
        share = 0.3 * moment.presence
        return Pull(
            x=tip[0], y=tip[1], dx=share * dx, dy=share * (dy - 14), radius=0.3 * self._size[0]
        )

    def _draw_instruments(self, sketch: Sketch, moment: Moment, tip: Point) -> None:
        """Draw the assistant's grasper, lifting the gallbladder, and the surgeon's instrument."""
        lifted = self._target[1] - 0.12 * self._size[0] + self._hold.at(moment.time_s)
        held = entering(
            self._entries[1], (self._target[0] - 0.3 * self._size[0], lifted), moment.presence
        )
        grasper(
            sketch,
            self._entries[1],
            held,
            width_px=self._width,
            opening=0.12 + 0.5 * (1 - moment.presence),
        )

        if moment.phase == "irrigation":
            suction(sketch, self._entries[0], tip, width_px=self._width)
        else:
            hook(sketch, self._entries[0], tip, width_px=self._width, shaft=self._shaft)

    def _blood(self, moment: Moment, camera: Camera) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
        """Return the stain of blood, which grows in coagulation and shrinks in irrigation."""
        grown = (
            eased((moment.since_s if moment.phase == "coagulation" else moment.left_s) / 2)
            * moment.presence
        )
        return blood(
            self._size,
            [(x - camera.x, y - camera.y, radius * grown) for x, y, radius in self._spots],
        )


def sheet(
    random: np.random.Generator, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "sheet_h sheet_w 3"], UInt8[np.ndarray, "sheet_h sheet_w"]]:
    """Return the organs as one picture, and their wet highlights."""
    height, width = size
    y, x = (axis.astype(np.float32) for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    coarse, fine = (
        noise(random, size, cell_px=120, octaves=3),
        noise(random, size, cell_px=21, octaves=3),
    )
    lobules = np.abs(noise(random, size, cell_px=51, octaves=3)) ** 0.6

    # Liver: above a tilted, uneven edge.
    lean = random.uniform(-0.45, 0.45)
    liver_mask = step(0.3 * coarse - y - lean * x + random.uniform(-0.3, 0.05), -0.02, 0.03)

    # Gallbladder: a tilted pear.
    tilt, long, thick = (
        random.uniform(-0.7, 0.7),
        random.uniform(0.36, 0.5),
        random.uniform(0.24, 0.34),
    )
    x, y = x - random.uniform(-0.18, 0.18), y + random.uniform(0.0, 0.16)
    along, across = x * math.cos(tilt) + y * math.sin(tilt), y * math.cos(tilt) - x * math.sin(tilt)
    bladder = (
        1 - (along / long) ** 2 - ((across + 0.09 * coarse) / (thick * (1 - 0.4 * along))) ** 2
    )
    bladder_mask = step(bladder, -0.02, 0.12)

    # Paint fat, liver and gallbladder, and vessels over them.
    fat = colored(
        1.5 * lobules - 0.9 + 0.3 * fine,
        jittered(random, [(54, 96, 176), (84, 160, 218), (120, 196, 232)]),
    )
    liver = colored(
        0.6 * fine + 0.5 * coarse, jittered(random, [(34, 34, 88), (44, 46, 116), (58, 60, 138)])
    )
    bile = colored(
        0.4 * fine + 0.8 * coarse,
        jittered(random, [(88, 120, 136), (104, 140, 150), (124, 146, 176)]),
    )
    picture = blended(blended(fat, liver, liver_mask), bile, bladder_mask)
    tree = (
        vessels(random, size, roots=26, width_px=2.8)
        * (1 - liver_mask)
        * (0.25 + 0.4 * bladder_mask)
    )
    picture = blended(picture, np.full_like(picture, (36, 34, 128)), tree)

    # Light the relief.
    ground = (3.2 * lobules + 6 * coarse) * (1 - liver_mask) + (
        6 + 10 * coarse + 0.2 * fine
    ) * liver_mask
    dome = 5 + 13 * np.sqrt(np.clip(bladder, 0, 1)) + 0.12 * fine
    slope = slopes(ground * (1 - bladder_mask) + dome * bladder_mask, 10.0)
    return shaded(picture, slope, 0.45), gloss(random, slope)


def _optics(random: np.random.Generator, size: tuple[int, int]) -> Optics:
    light = lamp(
        size,
        center=(random.uniform(0.45, 0.55), random.uniform(0.45, 0.55)),
        falloff=random.uniform(0.6, 0.8),
        tint=(1 + random.uniform(-0.1, 0.1), 1.0, 1 + random.uniform(-0.06, 0.1)),
        level=random.uniform(1.15, 1.35),
    )
    center = size[1] / 2 + random.uniform(-10, 10), size[0] / 2 + random.uniform(-5, 5)
    radius = size[0] * random.uniform(0.58, 0.72)

    # Many scopes show a circle; with others the picture fills the frame.
    vignette_only = random.random() < 0.4
    return Optics(
        light=light,
        mask=None if vignette_only else field_of_view(size, center=center, radius=radius),
    )
