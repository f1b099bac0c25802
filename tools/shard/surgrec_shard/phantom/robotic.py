"""Robotic surgery: one eye of a wide stereo endoscope, wristed instruments, and an arm bar."""

import math

import numpy as np
from jaxtyping import UInt8

from surgrec_shard.phantom.canvas import Color, Point, entering
from surgrec_shard.phantom.domains import DOMAINS
from surgrec_shard.phantom.fluids import Smoke, blood
from surgrec_shard.phantom.instruments import needle, wristed
from surgrec_shard.phantom.motion import Rhythm, Sway, eased, ratchet, triangle
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.optics import Optics, lamp
from surgrec_shard.phantom.phases import Moment
from surgrec_shard.phantom.sketch import GRAY, Sketch
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

PAIR = DOMAINS["robotic"].pair

PASSES_HZ = {"needle-driving": 0.4, "thread-pulling": -0.4}
"""Passes of the needle per second, slowly out and quickly back. A negative rate runs backwards."""

THREADS: tuple[Color, ...] = ((150, 60, 96), (140, 100, 40), (196, 196, 190))

OPENINGS = {"inspection": 0.3, "dissection": 0.5, "coagulation": 0.08}
"""Opening of the right jaws, radians. During dissection they snip."""


class Robotic:
    """One operation in the pelvis.

    Args:
        random: Draws tissue, light, motion and instruments.
        size: Height and width of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        height, width = self._size = size

        # Tissue, light and motion.
        self._tissue = Tissue(
            random, *sheet(random, (round(height * 1.2), round(width * 1.2))), size
        )
        tint = 1 + random.uniform(-0.08, 0.14), 1.0, 1 + random.uniform(-0.08, 0.06)
        falloff, level = random.uniform(0.55, 0.75), random.uniform(1.1, 1.3)
        light = lamp(size, center=(0.5, 0.45), falloff=falloff, tint=tint, level=level)
        self.optics = Optics(light=light, bar=arm_bar(random, width))
        self._smoke = Smoke(random, size)
        self._sway = [Sway(random, 5.0), Sway(random, 4.0)]
        self._breath = Rhythm(4.0, random.uniform(0.2, 0.3))

        # Instruments and bleeding.
        self._start = random.uniform(0, 1)
        self._target = width * random.uniform(0.46, 0.54), height * random.uniform(0.45, 0.54)
        self._entries = (
            (width * random.uniform(0.98, 1.08), height * random.uniform(0.75, 1.0)),
            (width * random.uniform(-0.08, 0.02), height * random.uniform(0.75, 1.0)),
        )
        self._width = height * random.uniform(0.058, 0.07)
        self._thread = THREADS[int(random.integers(len(THREADS)))]
        self._spots = [
            (
                width * random.normal(0.5, 0.06),
                height * random.normal(0.55, 0.03),
                height * random.uniform(0.02, 0.07),
            )
            for _ in range(8)
        ]

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a moment."""
        camera, wrists = self._camera(moment), self._wrists(moment)
        breath = self._breath.at(moment.time_s)
        pull = Pull(
            x=wrists[1][0], y=wrists[1][1], dx=2 * breath, dy=-14 * moment.presence, radius=150.0
        )
        frame, glints = self._tissue.render(camera, [breath, 0.4 * breath], pull)

        sketch = Sketch(frame)
        if moment.phase in PAIR:
            self._draw_suture(sketch, moment, wrists)
        else:
            self._draw_arms(sketch, moment, wrists)

        haze = stain = None
        if moment.phase == "coagulation":
            haze = self._smoke.at(
                moment.time_s, 0.6 * eased(min(moment.since_s, moment.left_s) / 1.2)
            )
            spots = [
                (x - camera.x, y - camera.y, radius * moment.presence)
                for x, y, radius in self._spots
            ]
            stain = blood(self._size, spots)
        return self.optics.developed(
            sketch, glints=glints, throw=(-8.0, 18.0), stain=stain, haze=haze
        )

    def _camera(self, moment: Moment) -> Camera:
        """Return the pose of the camera, which circles during inspection."""
        x, y = (sway.at(moment.time_s) for sway in self._sway)
        if moment.phase != "inspection":
            return Camera(x=x, y=y)
        turn, swing = 2 * math.pi * (0.14 * moment.time_s + self._start), moment.presence
        return Camera(
            x=x + 40 * swing * math.cos(turn),
            y=y + 14 * swing * math.sin(turn),
            zoom=1 + 0.08 * swing,
        )

    def _wrists(self, moment: Moment) -> tuple[Point, Point]:
        """Return the positions of the right and the left wrist."""
        # Offsets from the target, as shares of the frame.
        if moment.phase in PAIR:
            along = self._needle_progress(moment)
            offsets = (0.05 + 0.16 * along, 0.06 - 0.16 * along), (-0.17, 0.04)
        elif moment.phase == "dissection":
            stroke = triangle(0.7 * moment.time_s + self._start) - 0.5
            offsets = (
                (0.1 + 0.06 * stroke, 0.02 + 0.12 * stroke),
                (-0.13 + 0.03 * stroke, -0.02 - 0.06 * stroke),
            )
        else:
            apart = (0.22 if moment.phase == "inspection" else 0.09) + 0.015 * math.sin(
                1.7 * moment.time_s
            )
            offsets = (apart, 0.1), (-apart - 0.05, 0.08)

        right, left = (
            (self._target[0] + x * self._size[1], self._target[1] + y * self._size[0])
            for x, y in offsets
        )
        return entering(self._entries[0], right, moment.presence), entering(
            self._entries[1], left, moment.presence
        )

    def _needle_progress(self, moment: Moment) -> float:
        """Return how far the needle is out of the tissue, in [0, 1]."""
        return ratchet(PASSES_HZ[moment.phase] * moment.time_s + self._start)

    def _draw_arms(self, sketch: Sketch, moment: Moment, wrists: tuple[Point, Point]) -> None:
        """Draw both arms."""
        opening = OPENINGS[moment.phase]
        if moment.phase == "dissection":
            opening *= triangle(1.4 * moment.time_s)

        wristed(sketch, self._entries[1], wrists[1], bend=-0.5, opening=0.25, width_px=self._width)
        wristed(
            sketch,
            self._entries[0],
            wrists[0],
            bend=0.6,
            opening=opening,
            width_px=self._width,
            color=GRAY,
        )

    def _draw_suture(self, sketch: Sketch, moment: Moment, wrists: tuple[Point, Point]) -> None:
        """Draw a needle in the right jaws, with its thread through the tissue to the left jaws."""
        along = self._needle_progress(moment)
        left = wristed(
            sketch, self._entries[1], wrists[1], bend=-0.4, opening=0.1, width_px=self._width
        )
        right = wristed(
            sketch,
            self._entries[0],
            wrists[0],
            bend=0.5 - 0.9 * along,
            opening=0.06,
            width_px=self._width,
        )

        if moment.presence > 0.8:
            stitch = self._target[0] - 0.02 * self._size[1], self._target[1] + 0.02 * self._size[0]
            for hand, slack in ((left, 26.0), (right, 60.0 * (1 - along))):
                sketch.line(_hanging(hand, stitch, slack), 2.0, self._thread)

        needle(sketch, right, turn=2.4 - 2.0 * along, radius_px=1.3 * self._width)


def sheet(
    random: np.random.Generator, size: tuple[int, int]
) -> tuple[UInt8[np.ndarray, "sheet_h sheet_w 3"], UInt8[np.ndarray, "sheet_h sheet_w"]]:
    """Return a picture of fat and fascia about a furrow of muscle, and its wet highlights."""
    height, width = size
    y, x = (axis.astype(np.float32) for axis in np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j])
    coarse, fine = (
        noise(random, size, cell_px=180, octaves=3),
        noise(random, size, cell_px=24, octaves=3),
    )
    lobules = np.abs(noise(random, size, cell_px=84, octaves=3)) ** 0.6
    narrow = noise(random, (height, width // 5), cell_px=18, octaves=3)
    strands = cv2.resize(narrow, (width, height), interpolation=cv2.INTER_CUBIC)

    # Muscle lies in a furrow, fascia in patches beside it.
    furrow = np.abs(y - 0.05 + 0.25 * coarse + random.uniform(-0.3, 0.3) * x)
    muscle_mask = 1 - step(furrow + 0.05 * fine, 0.2, 0.34)
    fascia_mask = step(coarse + 0.15 * fine, 0.0, 0.6) * (1 - muscle_mask)

    # Paint fat, fascia and muscle, and vessels over them.
    yellow, pink, red = (
        jittered(random, ramp)
        for ramp in (
            [(64, 104, 186), (92, 160, 220), (124, 192, 232)],
            [(96, 100, 186), (122, 130, 204), (158, 170, 222)],
            [(42, 38, 112), (56, 58, 148), (84, 88, 182)],
        )
    )
    fat = colored(1.5 * lobules - 0.9 + 0.3 * fine, yellow)
    fascia, muscle = (
        colored(0.4 * strands + 0.5 * coarse, pink),
        colored(0.45 * strands + 0.6 * coarse, red),
    )
    picture = blended(blended(fat, fascia, fascia_mask), muscle, muscle_mask)
    tree = vessels(random, size, roots=24, width_px=3.4) * 0.55
    picture = blended(picture, np.full_like(picture, (40, 34, 120)), tree)

    # Light the relief.
    depth = 3.4 * lobules * (1 - muscle_mask) * (1 - fascia_mask) - 10 * np.exp(
        -((furrow / 0.22) ** 2)
    )
    slope = slopes(depth + 0.5 * strands + 7 * coarse, 11.0)
    return shaded(picture, slope, 0.42), gloss(random, slope)


def arm_bar(random: np.random.Generator, width: int) -> UInt8[np.ndarray, "bar_h w 3"]:
    """Return the bar of the console: the instrument of each arm, with one arm highlighted."""
    bar = np.full((30, width, 3), (34, 30, 28), np.uint8)
    armed = int(random.integers(4))

    for number, name in enumerate(("Bipolar", "Scope", "Shears", "Driver")):
        left = 14 + number * width // 4
        color = (40, 190, 236) if number == armed else (150, 146, 140)
        cv2.rectangle(bar, (left, 5), (left + 22, 25), color, cv2.FILLED)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(bar, str(number + 1), (left + 6, 21), font, 0.5, (20, 20, 20), 1, cv2.LINE_AA)
        cv2.putText(bar, name, (left + 32, 21), font, 0.45, (200, 198, 194), 1, cv2.LINE_AA)
    return bar


def _hanging(start: Point, end: Point, slack: float) -> list[Point]:
    """Return a thread between two points that hangs by `slack` pixels."""
    (x0, y0), (x1, y1) = start, end
    shares = [step / 24 for step in range(25)]
    return [(x0 + (x1 - x0) * s, y0 + (y1 - y0) * s + 4 * slack * s * (1 - s)) for s in shares]
