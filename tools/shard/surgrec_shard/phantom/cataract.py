"""Cataract surgery: an eye under a microscope, with fine instruments through the limbus."""

import math

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import (
    QUARTER,
    UNCHANGED,
    Color,
    Point,
    ahead,
    disc,
    entering,
    path,
)
from surgrec_shard.phantom.domains import DOMAINS
from surgrec_shard.phantom.eye import Anatomy, painted_eye
from surgrec_shard.phantom.instruments import chopper, forceps, handpiece, keratome
from surgrec_shard.phantom.motion import Rhythm, Sway, eased, triangle
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.optics import Optics, lamp
from surgrec_shard.phantom.phases import Moment
from surgrec_shard.phantom.sketch import Sketch
from surgrec_shard.phantom.tissue import Camera, Tissue

PAIR = DOMAINS["cataract"].pair

CIRCLES_HZ = {"capsulorhexis": 0.18, "aspiration": 0.35, "polishing": -0.35}
"""Rounds of the tip about the pupil per second. Only the sign distinguishes the last two."""

CIRCLE = 0.62
"""Radius of these rounds, as a share of the pupil's."""

CLOUDED = ("incision", "capsulorhexis", "nucleus-removal")
"""Phases in which the eye still has its clouded lens."""

SLEEVES: tuple[Color, ...] = ((206, 176, 120), (150, 150, 208), (190, 190, 186))


class Cataract:
    """One eye.

    Args:
        random: Draws anatomy, light and motion.
        size: Height and width of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        height, width = self._size = size

        # Eye and light.
        limbus = height * random.uniform(0.36, 0.43)
        self._anatomy = Anatomy(limbus_px=limbus, pupil_px=limbus * random.uniform(0.68, 0.8))
        sheet = painted_eye(random, (round(height * 1.25), round(width * 1.25)), self._anatomy)
        self._tissue = Tissue(random, *sheet, size)
        tint = 1 + random.uniform(-0.14, 0.1), 1.0, 1 + random.uniform(-0.06, 0.1)
        light = lamp(
            size, falloff=random.uniform(0.3, 0.6), tint=tint, level=random.uniform(1.0, 1.2)
        )
        self.optics = Optics(light=light)

        # Motion, instruments and lens.
        self._sway = [
            Sway(random, 9.0, rate_hz=0.15),
            Sway(random, 8.0, rate_hz=0.15),
            Sway(random, 0.05, rate_hz=0.1),
        ]
        self._pulse = Rhythm(1.5, random.uniform(1.0, 1.4))
        self._start = random.uniform(0, 1)
        self._hands = random.uniform(0.1, 0.5) * math.pi, random.uniform(0.95, 1.15) * math.pi
        self._width = height * random.uniform(0.036, 0.046)
        self._sleeve = SLEEVES[int(random.integers(len(SLEEVES)))]
        self._lamps = (random.uniform(-0.2, 0.2, size=(3, 2)) * limbus).tolist()
        self._cloudiness = random.uniform(0.5, 1.0)

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a moment."""
        x, y, roll = (sway.at(moment.time_s) for sway in self._sway)
        middle = self._size[1] / 2 - x, self._size[0] / 2 - y
        frame, glints = self._tissue.render(
            Camera(x=x, y=y, roll=roll), [self._pulse.at(moment.time_s), 0.3 * x]
        )

        sketch = Sketch(frame)
        if moment.phase == "capsulorhexis":
            self._draw_tear(sketch, moment, middle)
        if moment.phase == "implantation":
            self._draw_lens(sketch, moment, middle)
        self._draw_instruments(sketch, moment, middle)

        # The cornea mirrors the lamps of the microscope.
        for lamp_x, lamp_y in self._lamps:
            center = middle[0] + lamp_x + 0.4 * x, middle[1] + lamp_y + 0.4 * y
            disc(glints, (center[0] / 2, center[1] / 2), 0.022 * self._anatomy.limbus_px, 255)
        stain = self._cloud(moment, middle) if moment.phase in CLOUDED else None
        return self.optics.developed(sketch, glints=glints, throw=(4.0, 7.0), stain=stain)

    def _draw_instruments(self, sketch: Sketch, moment: Moment, middle: Point) -> None:
        """Draw the instruments of the first hand and, from the nucleus on, of the second hand."""
        entries = [ahead(middle, angle, 0.75 * self._size[1]) for angle in self._hands]
        tip = entering(entries[0], self._tip(moment, middle), moment.presence)

        if moment.phase == "incision":
            keratome(sketch, entries[0], tip, width_px=1.3 * self._width)
        elif moment.phase == "capsulorhexis":
            opening = 0.15 + 0.1 * math.sin(9 * moment.time_s)
            forceps(sketch, entries[0], tip, width_px=self._width, opening=opening)
        else:
            rest = (
                middle[0] - 0.3 * self._anatomy.pupil_px,
                middle[1] + 0.1 * self._anatomy.pupil_px,
            )
            chopper(
                sketch,
                entries[1],
                entering(entries[1], rest, moment.presence),
                width_px=self._width,
            )
            side_port = moment.phase in PAIR
            handpiece(
                sketch,
                entries[0],
                tip,
                width_px=1.4 * self._width,
                sleeve=self._sleeve,
                side_port=side_port,
            )

    def _tip(self, moment: Moment, middle: Point) -> Point:
        """Return the position of the working tip once it is in.

        It moves in and out at the limbus, around the pupil, or to and fro across it.
        """
        hand = self._hands[0]
        if moment.phase == "incision":
            depth = 1.12 - 0.42 * triangle(0.4 * moment.time_s + self._start)
            return ahead(middle, hand, depth * self._anatomy.limbus_px)
        if moment.phase in CIRCLES_HZ:
            return ahead(middle, self._round(moment), CIRCLE * self._anatomy.pupil_px)
        return ahead(
            middle,
            hand,
            (triangle(0.9 * moment.time_s + self._start) - 0.5) * self._anatomy.pupil_px,
        )

    def _round(self, moment: Moment) -> float:
        """Return the angle of the tip on its rounds about the pupil, radians."""
        return 2 * math.pi * (CIRCLES_HZ[moment.phase] * moment.time_s + self._start)

    def _draw_tear(self, sketch: Sketch, moment: Moment, middle: Point) -> None:
        """Draw the torn edge of the capsule, behind the forceps."""
        end = self._round(moment)
        torn = 2 * math.pi * min(CIRCLES_HZ["capsulorhexis"] * moment.since_s, 0.95)
        edge = [
            ahead(middle, angle, CIRCLE * self._anatomy.pupil_px)
            for angle in np.linspace(end - torn, end, 40).tolist()
        ]
        sketch.line(edge, 2.0, (150, 170, 226))

    def _draw_lens(self, sketch: Sketch, moment: Moment, middle: Point) -> None:
        """Draw the artificial lens as it unfolds: its rim and two haptics."""
        radius = 0.8 * self._anatomy.pupil_px * eased(moment.since_s / 2)

        for turn in (0.5 * moment.time_s, 0.5 * moment.time_s + math.pi):
            rim = [
                ahead(middle, turn + angle, radius)
                for angle in np.linspace(0, math.pi, 20).tolist()
            ]
            haptic = [
                ahead(middle, turn + 1.3 * s, radius * (1 + 0.35 * s))
                for s in np.linspace(0, 1, 10).tolist()
            ]
            for edge in (rim, haptic):
                sketch.line(edge, 3.0, (96, 112, 150))
                sketch.line(edge, 1.0, (186, 200, 226))

    def _cloud(self, moment: Moment, middle: Point) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
        """Return the clouded lens as a stain that brightens the pupil.

        The handpiece breaks it into quarters.
        """
        cloud = np.zeros((self._size[0] // QUARTER, self._size[1] // QUARTER), np.uint8)
        center, pupil = (middle[0] / QUARTER, middle[1] / QUARTER), self._anatomy.pupil_px / QUARTER
        for share, level in ((0.85, 120), (0.55, 220)):
            disc(cloud, center, share * pupil, round(level * self._cloudiness * moment.presence))

        if moment.phase == "nucleus-removal":
            for quarter in range(4):
                end = ahead(center, self._hands[0] + quarter * math.pi / 2, 0.9 * pupil)
                path(cloud, [center, end], 1 + 4 * eased(moment.since_s / 4), (0,))

        soft = cv2.GaussianBlur(cloud, (0, 0), 1.5)
        return cv2.merge(
            [cv2.convertScaleAbs(soft, alpha=gain, beta=UNCHANGED) for gain in (0.57, 0.5, 0.12)]
        )
