"""Endoscopy: a tube of folded mucosa, through a round or an eight-sided field of view."""

import math

import numpy as np
from jaxtyping import Float32, UInt8

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
from surgrec_shard.phantom.instruments import snare
from surgrec_shard.phantom.motion import Rhythm, Sway, eased
from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.optics import Optics, field_of_view, lamp
from surgrec_shard.phantom.phases import Moment
from surgrec_shard.phantom.sketch import Sketch
from surgrec_shard.phantom.texture import (
    blended,
    colored,
    gloss,
    jittered,
    lit,
    shaded,
    slopes,
    step,
    tiling_noise,
    vessels,
)
from surgrec_shard.phantom.tissue import warped

WALL = (512, 1024)
"""Size of the unrolled wall: pixels along the bowel and around it."""

SPARE_PX = 96
"""The wall is repeated this far past its edges: more than the scope rolls or the bowel moves."""

MARGIN_PX = 56
"""Largest distance of the lumen from the middle of the field of view."""

TRAVEL = {
    "insertion": 150.0,
    "withdrawal": -150.0,
    "inspection": 12.0,
    "polypectomy": 0.0,
    "washing": -25.0,
}
"""Pixels of wall that the scope passes per second. Only this distinguishes the first two."""

MUCOSA: list[Color] = [(70, 84, 168), (96, 118, 204), (128, 156, 226)]


class Endoscopy:
    """One colonoscopy.

    Args:
        random: Draws wall, light, motion and polyp.
        size: Height and width of the frame.
    """

    def __init__(self, random: np.random.Generator, size: tuple[int, int]) -> None:
        height, width = self._size = size
        self._middle = width * random.uniform(0.5, 0.55), height * 0.5

        # Wall and light.
        ramp = jittered(random, MUCOSA)
        picture, wet = wall(random, ramp)
        self._wall = _unrolled_twice(picture)
        self._wet = cv2.resize(
            _unrolled_twice(wet), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
        )
        self._map, self._glow = _tube(random, size, self._middle)
        self._half_map = np.ascontiguousarray(self._map[::2, ::2]) / 2
        self._half_glow = np.ascontiguousarray(self._glow[::2, ::2, 0])
        self.optics = _optics(random, size, self._middle)

        # Motion, polyp and bubbles.
        self._sway = [
            Sway(random, 14.0, rate_hz=0.2),
            Sway(random, 12.0, rate_hz=0.2),
            Sway(random, 60.0, rate_hz=0.1),
        ]
        self._peristalsis = Rhythm(14.0, random.uniform(0.12, 0.2))
        self._start = random.uniform(0, WALL[0])
        self._circling_hz = 0.3 if random.random() < 0.5 else -0.3
        self._polyp_at = random.uniform(0.15, 0.85) * math.pi, random.uniform(0.27, 0.33) * height
        self._polyp = polyp(random, ramp, round(height * random.uniform(0.2, 0.28)))
        self._bubbles = random.uniform(0, 1, size=(36, 3)).tolist()

    def draw(self, moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
        """Return the frame at a moment."""
        frame, glints = self._wall_at(moment)
        sketch = Sketch(frame)
        if moment.phase == "polypectomy":
            self._draw_resection(sketch, moment)
        haze = self._spray(moment) if moment.phase == "washing" else None
        return self.optics.developed(sketch, glints=glints, throw=(6.0, 8.0), haze=haze)

    def _wall_at(
        self, moment: Moment
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "half_h half_w"]]:
        """Return the lit wall, and at half its size its wet highlights."""
        height, width = self._size
        x, y, roll = (sway.at(moment.time_s) for sway in self._sway)
        if moment.phase == "inspection":
            turn, swing = 2 * math.pi * self._circling_hz * moment.time_s, 34 * moment.presence
            x, y = x + swing * math.cos(turn), y + swing * math.sin(turn)

        # The lumen moves within the field of view.
        left, top = MARGIN_PX - round(x / 2) * 2, MARGIN_PX - round(y / 2) * 2
        window = np.s_[top : top + height, left : left + width]
        half_window = np.s_[top // 2 : (top + height) // 2, left // 2 : (left + width) // 2]

        # The scope moves along the wall, which also moves by itself.
        passed = (
            self._start + sum(TRAVEL[phase] * spent_s for phase, spent_s in moment.spent)
        ) % WALL[0]
        wave = self._peristalsis.at(moment.time_s)
        positions = cv2.add(self._map[window], np.array([roll, passed + wave, 0, 0]))
        half_positions = cv2.add(
            self._half_map[half_window], np.array([roll * 0.4, passed * 0.5 + wave * 0.3, 0, 0])
        )

        bright = cv2.multiply(
            warped(self._wall, positions), self._glow[window], scale=1 / UNCHANGED
        )
        return bright, cv2.multiply(
            warped(self._wet, half_positions), self._half_glow[half_window], scale=1 / UNCHANGED
        )

    def _draw_resection(self, sketch: Sketch, moment: Moment) -> None:
        """Draw a polyp that comes near, and the snare that closes around it."""
        angle, away = self._polyp_at
        x, y = ahead(self._middle, angle, away * (0.4 + 0.6 * moment.presence))
        center = x + self._sway[0].at(moment.time_s), y + self._sway[1].at(moment.time_s)
        radius = _stamped(sketch.frame, self._polyp, center, moment.presence)

        channel = self._middle[0] + 0.32 * self._size[0], self._size[0] * 1.02
        tip = entering(channel, center, 0.65 * moment.presence)
        closing = 1.5 - 0.55 * eased(moment.since_s / 3)
        snare(
            sketch, channel, tip, center, radius_px=closing * radius, width_px=0.06 * self._size[0]
        )

    def _spray(self, moment: Moment) -> UInt8[np.ndarray, "quarter_h quarter_w 3"]:
        """Return the haze of a flickering jet of water and its bubbles."""
        height, width = self._size[0] // QUARTER, self._size[1] // QUARTER
        layer = np.zeros((height, width), np.uint8)
        middle = self._middle[0] / QUARTER, self._middle[1] / QUARTER
        nozzle = middle[0] - 0.3 * height, float(height)

        for strand in range(7):
            spread = 4 * math.sin(31 * moment.time_s + 2.4 * strand)
            end = middle[0] + 0.12 * height + 1.5 * spread, middle[1] - 0.1 * height + spread
            path(layer, [nozzle, end], 1.0 + strand % 2, (70,))
        spray = cv2.convertScaleAbs(cv2.GaussianBlur(layer, (0, 0), 1.2), alpha=moment.presence)

        for turn, birth, bigness in self._bubbles:
            age = (birth + 0.25 * moment.time_s) % 1
            center = ahead(middle, 2 * math.pi * turn, (0.1 + 0.4 * age) * height)
            level = round(120 * moment.presence * (1 - age))
            disc(spray, center, (0.6 + 2.0 * bigness) * (0.4 + age), level, thickness=1)
        return cv2.merge([spray, spray, spray])


def wall(
    random: np.random.Generator, ramp: list[Color]
) -> tuple[UInt8[np.ndarray, "along around 3"], UInt8[np.ndarray, "along around"]]:
    """Return the unrolled mucosa, which continues at every edge, and its wet highlights."""
    coarse = tiling_noise(random, WALL, cell_px=128, octaves=3)
    fine = tiling_noise(random, WALL, cell_px=32, octaves=4)
    wobble = tiling_noise(random, WALL, cell_px=128, octaves=1)
    picture = colored(0.6 * fine + 0.7 * coarse, ramp)
    tree = vessels(random, WALL, roots=40, width_px=2.6) * 0.45
    picture = blended(picture, np.full_like(picture, (48, 40, 150)), tree)

    # Folds lie across the bowel.
    slope = slopes(5 * coarse + 1.3 * fine, 8.0)
    along = np.arange(WALL[0], dtype=np.float32)[:, None] / WALL[0]
    turn = (along * int(random.integers(3, 5)) + 0.2 * wobble + random.uniform(0, 1)) % 1
    # Each fold has a bright crest, and casts a shadow just behind it.
    crest = 0.62 + 0.36 * turn**1.5 + 0.2 * np.exp(-(((turn - 0.9) / 0.1) ** 2))
    hidden = (1 - 0.5 * np.exp(-turn / 0.14)) * (1 - 0.35 * step(turn, 0.95, 1.0))
    return lit(shaded(picture, slope, 0.22), crest * hidden), gloss(random, slope, spread=0.17)


def polyp(
    random: np.random.Generator, ramp: list[Color], diameter: int
) -> tuple[UInt8[np.ndarray, "d d 3"], Float32[np.ndarray, "d d"]]:
    """Return a lit knob of tissue, redder than the wall, and its mask."""
    y, x = (
        axis.astype(np.float32) for axis in np.mgrid[-1 : 1 : diameter * 1j, -1 : 1 : diameter * 1j]
    )
    bumps = tiling_noise(random, (128, 128), cell_px=32, octaves=4)[:diameter, :diameter]
    radius = np.hypot(x, y) * (1 + 0.16 * bumps)
    dome = np.sqrt(np.clip(1 - radius**2, 0, 1))

    redder = [(round(blue * 0.85), round(green * 0.75), red) for blue, green, red in ramp]
    picture = lit(
        colored(0.5 * bumps + 0.1, redder), 0.35 + 0.8 * dome - 0.18 * x - 0.22 * y + 0.2 * bumps
    )

    glint = cv2.convertScaleAbs(
        np.exp(-((x + 0.25) ** 2 + (y + 0.3) ** 2 + 0.05 * bumps) * 40), alpha=220
    )
    return cv2.add(picture, cv2.merge([glint, glint, glint])), np.clip((0.98 - radius) * 8, 0, 1)


def _tube(
    random: np.random.Generator, size: tuple[int, int], middle: Point
) -> tuple[Float32[np.ndarray, "canvas_h canvas_w 2"], UInt8[np.ndarray, "canvas_h canvas_w 3"]]:
    """Return the position on the wall (around, along) that each pixel shows, and its light.

    Both have a margin on every side of the frame.
    """
    height, width = size[0] + 2 * MARGIN_PX, size[1] + 2 * MARGIN_PX
    y, x = (axis.astype(np.float32) for axis in np.mgrid[:height, :width])
    x, y = x - (middle[0] + MARGIN_PX), y - (middle[1] + MARGIN_PX)

    # The lumen is not round: two and three lobes vary its radius.
    angle = np.arctan2(y, x)
    lobes = [
        random.uniform(0.05, 0.13) * np.cos(sides * angle + random.uniform(0, 6.28))
        for sides in (2, 3)
    ]
    radius = np.hypot(x, y) * (1 + lobes[0] + lobes[1]) / (size[0] / 2)

    # With 1 / radius, the tube would show more folds than a bent bowel does.
    along = (400 / np.sqrt(np.maximum(radius, 0.03))) % WALL[0] + SPARE_PX
    around = (angle / (2 * math.pi) + 0.5) * WALL[1] + SPARE_PX

    bright = np.clip(1.7 * radius**0.75 / (0.45 + radius**1.6), 0, 1.6) * np.clip(
        (radius - 0.08) / 0.4, 0.06, 1
    )
    glow = cv2.convertScaleAbs(bright, alpha=UNCHANGED)
    return np.stack([around, along], axis=-1), cv2.merge([glow, glow, glow])


def _unrolled_twice(picture: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
    """Repeat the wall past its edges: OpenCV's wrapping border is several times slower."""
    beside = ((0, 0),) * (picture.ndim - 2)
    return np.pad(
        picture, ((SPARE_PX, WALL[0] + SPARE_PX), (SPARE_PX, SPARE_PX), *beside), mode="wrap"
    )


def _stamped(
    frame: UInt8[np.ndarray, "h w 3"],
    stamp: tuple[UInt8[np.ndarray, "d d 3"], Float32[np.ndarray, "d d"]],
    center: Point,
    scale: float,
) -> float:
    """Put a stamp on the frame, and return its radius in pixels."""
    side = max(round(len(stamp[1]) * scale), 4)
    picture, mask = (
        cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA) for layer in stamp
    )

    left = min(max(round(center[0] - side / 2), 0), frame.shape[1] - side)
    top = min(max(round(center[1] - side / 2), 0), frame.shape[0] - side)
    under = frame[top : top + side, left : left + side]
    under[:] = blended(under.copy(), picture, mask)
    return side / 2


def _optics(random: np.random.Generator, size: tuple[int, int], middle: Point) -> Optics:
    light = lamp(
        size,
        center=(middle[0] / size[1], 0.5),
        falloff=random.uniform(0.1, 0.3),
        tint=(
            1 + random.uniform(-0.12, 0.12),
            1 + random.uniform(-0.04, 0.04),
            1 + random.uniform(-0.08, 0.08),
        ),
        level=random.uniform(0.9, 1.1),
    )

    # Eight sides, a circle, or a circle cut by the frame.
    sides, reach = ((8, 0.53), (90, 0.5), (90, 0.6))[int(random.integers(3))]
    return Optics(
        light=light, mask=field_of_view(size, center=middle, radius=reach * size[0], sides=sides)
    )
