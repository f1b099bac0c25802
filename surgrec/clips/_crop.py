"""Crop boxes, drawn from random keys. Pure functions of numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from surgrec.stream import hash_uniform

_ATTEMPTS = 10
_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle within a frame, pixels."""

    top: int
    left: int
    height: int
    width: int


def random_resized_crop(
    height: int,
    width: int,
    *,
    scale: tuple[float, float],
    aspect_ratio: tuple[float, float],
    key: int,
) -> Box:
    """Draw a crop of random area, shape and position.

    After ten crops that do not fit into the frame, return the largest central crop of the nearest
    aspect ratio.

    Args:
        height: Frame height, pixels.
        width: Frame width, pixels.
        scale: Range of the crop area as a share of the frame area.
        aspect_ratio: Range of the crop's width / height, drawn uniformly in its logarithm.
        key: RNG key; the only source of randomness.

    Source: Szegedy et al. 2015 (arXiv:1409.4842, section 6); V-JEPA 2 uses scale 0.3-1 and ratio
        0.75-1.35.
    """
    low, high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])

    for attempt in range(_ATTEMPTS):
        area = height * width * _lerp(*scale, hash_uniform(key, attempt, 0))
        ratio = math.exp(_lerp(low, high, hash_uniform(key, attempt, 1)))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))

        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(hash_uniform(key, attempt, 2) * (height - box_height + 1))
            left = int(hash_uniform(key, attempt, 3) * (width - box_width + 1))
            return Box(top=top, left=left, height=box_height, width=box_width)

    nearest = min(max(width / height, aspect_ratio[0]), aspect_ratio[1])
    return central_crop(height, width, aspect_ratio=nearest)


def multi_scale_crop(height: int, width: int, *, key: int) -> Box:
    """Draw a crop from ten sizes and 13 positions.

    Height and width are each 1, 0.875, 0.75 or 0.66 of the frame's shorter side, at most one step
    apart. The positions are the points of a 5 x 5 grid over the frame whose row and column numbers
    are both even or both odd.

    Args:
        height: Frame height, pixels.
        width: Frame width, pixels.
        key: RNG key; the only source of randomness.

    Source: Temporal Segment Networks, arXiv:1608.00859, section 3.3 (corner cropping, scale
        jittering), as implemented for
    VideoMAE (arXiv:2203.12602). VideoMAE also rounds a side within 2 pixels of the encoder's input
    size to that size.
    """
    sides = [int(min(height, width) * scale) for scale in _SCALES]
    steps = range(len(sides))
    sizes = [(sides[i], sides[j]) for i in steps for j in steps if abs(i - j) <= 1]
    grid = [(row, column) for row in range(5) for column in range(5) if row % 2 == column % 2]

    box_height, box_width = sizes[int(hash_uniform(key, 0) * len(sizes))]
    row, column = grid[int(hash_uniform(key, 1) * len(grid))]
    return Box(
        top=row * ((height - box_height) // 4),
        left=column * ((width - box_width) // 4),
        height=box_height,
        width=box_width,
    )


def central_crop(height: int, width: int, *, aspect_ratio: float = 1.0) -> Box:
    """Return the largest centered crop of a given width / height."""
    box_width = min(width, round(height * aspect_ratio))
    box_height = min(height, round(width / aspect_ratio))
    return Box(
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        height=box_height,
        width=box_width,
    )


def bounding_box(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that contains all of `boxes`."""
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    right = max(box.left + box.width for box in boxes)
    return Box(top=top, left=left, height=bottom - top, width=right - left)


def _lerp(low: float, high: float, weight: float) -> float:
    return low + (high - low) * weight
