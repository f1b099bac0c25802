"""Where a clip is cropped. Pure: numbers in, a box out."""

import math
from dataclasses import dataclass

from surgrec.stream.permutation import Word, uniform

_ATTEMPTS = 10


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of a frame, pixels."""

    top: int
    left: int
    height: int
    width: int


def random_resized_crop(
    height: int, width: int, *, scale: tuple[float, float], aspect_ratio: tuple[float, float], key: Word
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
        area = height * width * _between(*scale, float(uniform(key, attempt, 0)))
        ratio = math.exp(_between(low, high, float(uniform(key, attempt, 1))))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = int(uniform(key, attempt, 2) * (height - box_height + 1))
            left = int(uniform(key, attempt, 3) * (width - box_width + 1))
            return Box(top=top, left=left, height=box_height, width=box_width)
    return central_crop(height, width, aspect_ratio=min(max(width / height, aspect_ratio[0]), aspect_ratio[1]))


def central_crop(height: int, width: int, *, aspect_ratio: float = 1.0) -> Box:
    """The largest centred part of a frame with this width / height."""
    box_width, box_height = min(width, round(height * aspect_ratio)), min(height, round(width / aspect_ratio))
    return Box(top=(height - box_height) // 2, left=(width - box_width) // 2, height=box_height, width=box_width)


def _between(low: float, high: float, place: float) -> float:
    return low + (high - low) * place
