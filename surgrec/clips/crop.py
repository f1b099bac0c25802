"""Where a clip is cropped. Pure: numbers in, a box out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from surgrec.stream import hash_uniform

_ATTEMPTS = 10
_SCALES = (1.0, 0.875, 0.75, 0.66)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a frame, pixels."""

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
    """A random part of a frame, the same for every frame of a clip.

    Args:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        scale: Range of the part's area, as a share of the frame's.
        aspect_ratio: Range of width / height, drawn uniformly in its logarithm.
        key: What the draw depends on, and all it depends on.

    Source: Szegedy et al. 2015 (arXiv:1409.4842, section 6); V-JEPA 2 uses scale 0.3-1 and ratio 0.75-1.35.
    """
    low, high = math.log(aspect_ratio[0]), math.log(aspect_ratio[1])
    for attempt in range(_ATTEMPTS):
        area = height * width * _between(*scale, hash_uniform(key, attempt, 0))
        ratio = math.exp(_between(low, high, hash_uniform(key, attempt, 1)))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(hash_uniform(key, attempt, 2) * (height - box_height + 1))
            left = int(hash_uniform(key, attempt, 3) * (width - box_width + 1))
            return Box(top=top, left=left, height=box_height, width=box_width)
    return central_crop(
        height, width, aspect_ratio=min(max(width / height, aspect_ratio[0]), aspect_ratio[1])
    )


def multi_scale_crop(height: int, width: int, *, key: int) -> Box:
    """A part of a frame of one of a few sizes, at one of 13 places, the same for every frame of a clip.

    Height and width are 1, 0.875, 0.75 or 0.66 of the frame's shorter side, at most one step of these apart. The places are
    those of a grid of 5 x 5 over the frame whose row and column numbers are both even or both odd.

    Args:
        height: Of the frame, pixels.
        width: Of the frame, pixels.
        key: What the draw depends on, and all it depends on.

    Source: Temporal Segment Networks, arXiv:1608.00859, section 3.3 (corner cropping, scale jittering), as VideoMAE
    (arXiv:2203.12602) has it. There, a side within 2 pixels of the network's is rounded to it.
    """
    sides = [int(min(height, width) * scale) for scale in _SCALES]
    steps = range(len(sides))
    sizes = [
        (sides[one], sides[other]) for one in steps for other in steps if abs(one - other) <= 1
    ]
    places = [(row, column) for row in range(5) for column in range(5) if row % 2 == column % 2]
    box_height, box_width = sizes[int(hash_uniform(key, 0) * len(sizes))]
    row, column = places[int(hash_uniform(key, 1) * len(places))]
    return Box(
        top=row * ((height - box_height) // 4),
        left=column * ((width - box_width) // 4),
        height=box_height,
        width=box_width,
    )


def central_crop(height: int, width: int, *, aspect_ratio: float = 1.0) -> Box:
    """The largest centered part of a frame with this width / height."""
    box_width, box_height = (
        min(width, round(height * aspect_ratio)),
        min(height, round(width / aspect_ratio)),
    )
    return Box(
        top=(height - box_height) // 2,
        left=(width - box_width) // 2,
        height=box_height,
        width=box_width,
    )


def bounding_box(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    top, left = min(box.top for box in boxes), min(box.left for box in boxes)
    bottom, right = (
        max(box.top + box.height for box in boxes),
        max(box.left + box.width for box in boxes),
    )
    return Box(top=top, left=left, height=bottom - top, width=right - left)


def _between(low: float, high: float, place: float) -> float:
    return low + (high - low) * place
