"""The part of the pictures of a recording that is shown: a crop, and masked boxes."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from surgrec.errors import ConfigError

_BOX = re.compile(r"(\d{1,5}),(\d{1,5}),(\d{1,5}),(\d{1,5})", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Box:
    """A part of the picture as displayed, pixels. All are even."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        """Return `x,y,width,height`."""
        return f"{self.x},{self.y},{self.width},{self.height}"

    def joined(self, other: "Box") -> "Box":
        """Return the smallest box around both."""
        x, y = min(self.x, other.x), min(self.y, other.y)
        right = max(self.x + self.width, other.x + other.width)
        bottom = max(self.y + self.height, other.y + other.height)
        return Box(x=x, y=y, width=right - x, height=bottom - y)

    def overlap(self, other: "Box") -> int:
        """Return how many pixels both have in common."""
        across = min(self.x + self.width, other.x + other.width) - max(self.x, other.x)
        down = min(self.y + self.height, other.y + other.height) - max(self.y, other.y)
        return max(0, across) * max(0, down)

    def likeness(self, other: "Box") -> float:
        """Return the pixels that both have in common, as a share of those of either."""
        common = self.overlap(other)
        return common / (self.width * self.height + other.width * other.height - common)


@dataclass(frozen=True, kw_only=True)
class View:
    """Which part of the pictures is shown; by default all of it."""

    masks: tuple[Box, ...] = ()
    """Boxes that are painted black."""
    crop: Box | None = None
    """The part that is shown; None: the whole picture."""

    def filters(self, width: int, height: int) -> Iterator[str]:
        """Yield ffmpeg's filters that show this part of an upright picture.

        Args:
            width: Width of the picture as displayed, pixels.
            height: Its height.
        """
        if not self.masks and self.crop is None:
            return
        yield f"scale={width}:{height}:flags=bicubic+accurate_rnd+bitexact"
        for box in self.masks:
            place = f"x={box.x}:y={box.y}:w={box.width}:h={box.height}"
            yield f"drawbox={place}:color=black:thickness=fill"
        if self.crop is not None:
            yield f"crop={self.crop.width}:{self.crop.height}:{self.crop.x}:{self.crop.y}:exact=1"


def parse_boxes(text: str, context: str) -> tuple[Box, ...]:
    """Return boxes that are given as `x,y,width,height;...`, enlarged to even pixels.

    Raises:
        ConfigError: The text is something else.
    """
    boxes = []
    for part in text.split(";") if text.strip() else ():
        found = _BOX.fullmatch(part.strip())
        if found is None or "0" in (found[3].lstrip("0") or "0", found[4].lstrip("0") or "0"):
            raise ConfigError(
                f"{context} has {part.strip()!r:.40}; give boxes as x,y,width,height in pixels, "
                "separated by ';'"
            )

        x, y, width, height = map(int, found.groups())
        left, top, right, bottom = x - x % 2, y - y % 2, x + width, y + height
        boxes.append(
            Box(
                x=left,
                y=top,
                width=right + right % 2 - left,
                height=bottom + bottom % 2 - top,
            )
        )

    return tuple(boxes)
