"""Textures of tissue, made once per case: smooth noise, color ramps, relief, vessels."""

import math

import numpy as np
from jaxtyping import Float32, UInt8

from surgrec_shard.phantom.canvas import Color, ahead, path
from surgrec_shard.phantom.opencv import cv2


def noise(
    random: np.random.Generator, size: tuple[int, int], *, cell_px: int, octaves: int = 4
) -> Float32[np.ndarray, "h w"]:
    """Return smooth noise in [-1, 1]. Its widest bumps have `cell_px` pixels."""
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        cell = max(cell_px / 2**octave, 2)
        grid = random.uniform(
            -1, 1, (math.ceil(height / cell) + 2, math.ceil(width / cell) + 2)
        ).astype(np.float32)
        wide = round(grid.shape[1] * cell), round(grid.shape[0] * cell)
        smooth = cv2.resize(grid, wide, interpolation=cv2.INTER_CUBIC)
        total += smooth[:height, :width] * 0.5**octave
    return _normalized(total, octaves)


def tiling_noise(
    random: np.random.Generator, size: tuple[int, int], *, cell_px: int, octaves: int = 4
) -> Float32[np.ndarray, "h w"]:
    """Return noise that continues from its right edge to its left, and from its bottom to its top.

    Height and width must be multiples of `cell_px`, a power of two of at least 2**octaves.
    """
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        cell = cell_px // 2**octave
        grid = random.uniform(-1, 1, (height // cell, width // cell)).astype(np.float32)
        grid = np.pad(grid, 2, mode="wrap")
        smooth = cv2.resize(grid, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        total += smooth[2 * cell : 2 * cell + height, 2 * cell : 2 * cell + width] * 0.5**octave
    return _normalized(total, octaves)


def step(value: Float32[np.ndarray, "h w"], low: float, high: float) -> Float32[np.ndarray, "h w"]:
    """Return 0 below `low`, 1 above `high`, and a smooth transition between."""
    amount = np.clip((value - low) / (high - low), 0, 1)
    smooth: Float32[np.ndarray, "h w"] = amount * amount * (3 - 2 * amount)
    return smooth


def colored(value: Float32[np.ndarray, "h w"], ramp: list[Color]) -> UInt8[np.ndarray, "h w 3"]:
    """Map values in [-1, 1] to a ramp of evenly spaced colors."""
    stops = np.linspace(0, 255, len(ramp))
    table = np.stack(
        [np.interp(np.arange(256), stops, channel) for channel in zip(*ramp, strict=True)], axis=-1
    )
    level = cv2.convertScaleAbs(value + 1, alpha=127.5)
    return cv2.LUT(cv2.merge([level, level, level]), table.astype(np.uint8)[None])


def jittered(random: np.random.Generator, ramp: list[Color]) -> list[Color]:
    """Vary a ramp of colors between patients: each channel a little stronger or weaker."""
    gains = random.uniform(0.93, 1.07, size=3)
    colors = np.clip(np.round(np.array(ramp) * gains), 0, 255).astype(int).tolist()
    return [(blue, green, red) for blue, green, red in colors]


def blended(
    below: UInt8[np.ndarray, "h w 3"],
    above: UInt8[np.ndarray, "h w 3"],
    mask: Float32[np.ndarray, "h w"],
) -> UInt8[np.ndarray, "h w 3"]:
    """Return `above` for a mask of 1, and `below` for 0."""
    return cv2.blendLinear(below, above, 1 - mask, mask)


Slopes = tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]


def slopes(height: Float32[np.ndarray, "h w"], strength: float) -> Slopes:
    """Return the slopes of a height map to the right and downwards."""
    smooth = cv2.GaussianBlur(height, (0, 0), 1.6)
    right, down = (cv2.Sobel(smooth, cv2.CV_32F, x, 1 - x, scale=-strength / 8) for x in (1, 0))
    return right, down


def lit(
    picture: UInt8[np.ndarray, "h w 3"], gain: Float32[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    """Multiply a picture by a gain below 2."""
    level = cv2.convertScaleAbs(gain, alpha=128)
    return cv2.multiply(picture, cv2.merge([level, level, level]), scale=1 / 128)


def shaded(
    picture: UInt8[np.ndarray, "h w 3"], slope: Slopes, depth: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Light a picture from its upper left: slopes toward the light are brighter by `depth`."""
    return lit(picture, 1 + depth * np.tanh(-0.5 * slope[0] - 0.85 * slope[1]))


def gloss(
    random: np.random.Generator,
    slope: Slopes,
    *,
    at: tuple[float, float] = (-0.25, -0.5),
    spread: float = 0.16,
) -> UInt8[np.ndarray, "h w"]:
    """Return the wet highlights, 0 to 255.

    They appear where the slope reflects the lamp, and are broken up by the finest bumps.

    Args:
        random: Draws bumps and patches.
        slope: Slopes of the surface.
        at: Slope that reflects the lamp into the camera.
        spread: Range of slopes around it that still reflect.
    """
    size = slope[0].shape
    rough = [part + 0.14 * noise(random, size, cell_px=7, octaves=1) for part in slope]
    away = (rough[0] - at[0]) ** 2 + (rough[1] - at[1]) ** 2
    patches = step(noise(random, size, cell_px=70, octaves=2), -0.3, 0.3)
    wet: UInt8[np.ndarray, "h w"] = (235 * np.exp(-away / spread**2) * patches).astype(np.uint8)
    return wet


def vessels(
    random: np.random.Generator,
    size: tuple[int, int],
    *,
    roots: int,
    width_px: float,
    branching: float = 0.05,
) -> Float32[np.ndarray, "h w"]:
    """Return a mask in [0, 1] of vessels that start anywhere, branch, and grow thinner.

    Args:
        random: Draws their courses.
        size: Height and width of the mask.
        roots: Number of vessels before branching.
        width_px: Largest width.
        branching: Probability that a vessel forks at a step of 9 pixels.
    """
    mask = np.zeros(size, np.uint8)
    height, width = size
    starts = random.uniform(0, 1, size=(roots, 4)) * (width, height, 2 * math.pi, 0.4 * width_px)
    growing = [((x, y), heading, 0.6 * width_px + more) for x, y, heading, more in starts.tolist()]

    while growing:
        point, heading, thickness = growing.pop()
        course = [point]
        for turn, fork in zip(
            random.normal(0, 0.28, size=40).tolist(), random.random(40).tolist(), strict=True
        ):
            heading += turn
            point = ahead(point, heading, 9.0)
            course.append(point)
            if fork < branching and thickness > 1.2:
                side = 0.8 if fork < branching / 2 else -0.8
                growing.append((point, heading + side, 0.6 * thickness))
        path(mask, course, thickness, (255,))
    return cv2.GaussianBlur(mask, (0, 0), 0.8).astype(np.float32) / 255


def _normalized(total: Float32[np.ndarray, "h w"], octaves: int) -> Float32[np.ndarray, "h w"]:
    """Scale a sum of octaves, each half as strong as the one before, to [-1, 1] and clip it."""
    scaled: Float32[np.ndarray, "h w"] = np.clip(total * (1.5 / (2 - 0.5 ** (octaves - 1))), -1, 1)
    return scaled
