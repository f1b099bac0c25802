"""The static overlays of one video in its own pixels, and a picture that shows them."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from surgrec.errors import SetupError
from surgrec.recordings.process import FfmpegProcess
from surgrec.recordings.view import Box
from surgrec_shard.curation._measures import planes_of
from surgrec_shard.curation._overlays import find_overlays, joined_boxes

_BLACK = 16
_LINE = 2
"""Width of the line around an overlay, pixels."""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A few pictures of a video, all of one size."""

    pictures: tuple[bytes, ...]
    """Planes of yuv420p."""
    size: tuple[int, int]
    """Width and height, pixels."""
    whole: tuple[int, int]
    """Those of the video as displayed."""

    @cached_property
    def lumas(self) -> list[UInt8[np.ndarray, "_ _"]]:
        """The luma of each picture."""
        return [planes_of(picture, *self.size)[0] for picture in self.pictures]

    def painted(self, boxes: Sequence[Box]) -> "Look":
        """Return the same pictures with some boxes of the video painted black."""
        pictures = []
        for picture in self.pictures:
            pixels = np.frombuffer(picture, np.uint8).copy()
            luma = pixels[: self.size[0] * self.size[1]].reshape(self.size[1], self.size[0])
            for box in self.reduced(boxes):
                luma[box.y : box.y + box.height, box.x : box.x + box.width] = _BLACK
            pictures.append(pixels.tobytes())
        return replace(self, pictures=tuple(pictures))

    def reduced(self, boxes: Sequence[Box]) -> list[Box]:
        """Return boxes of the video in pixels of these pictures."""
        return [_scaled(box, self.whole, self.size, step=1) for box in boxes]

    def enlarged(self, boxes: Sequence[Box]) -> list[Box]:
        """Return boxes of these pictures in even pixels of the video."""
        return [_scaled(box, self.size, self.whole, step=2) for box in boxes]


@dataclass(frozen=True, kw_only=True)
class SeenOverlays:
    """The static overlays of a video."""

    boxes: tuple[Box, ...]
    """In pixels of the video, enlarged to even numbers."""
    unclear: str
    """Why they cannot be told; empty: they can."""
    look: Look

    def notes(self, *, is_masked: bool) -> Iterator[str]:
        """Yield a sentence for the private report, if any is needed."""
        if self.unclear:
            yield f"not searched for static overlays: {self.unclear}"
        elif self.boxes:
            what = "static overlays, masked" if is_masked else "static overlays"
            yield f"{what}: {'; '.join(map(str, self.boxes))}"

    def write_picture(self, path: Path) -> None:
        """Write a picture of the video in which the overlays are framed, as PNG.

        Names may be readable in it.

        Raises:
            SetupError: ffmpeg cannot write the picture.
            OSError: The disk is full.
        """
        look = self.look
        lit = sorted(range(len(look.lumas)), key=lambda number: float(look.lumas[number].mean()))
        frames = [
            f"drawbox=x={box.x - _LINE}:y={box.y - _LINE}:w={box.width + 2 * _LINE}"
            f":h={box.height + 2 * _LINE}:color=yellow:thickness={_LINE}"
            for box in look.reduced(self.boxes)
        ]
        arguments = [
            *("-v", "level+error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
            *("-s", f"{look.size[0]}x{look.size[1]}", "-i", "pipe:0", "-frames:v", "1"),
            *("-vf", ",".join(frames) or "null", "-f", "image2", "-c:v", "png", path.name),
        ]
        with FfmpegProcess("ffmpeg", arguments, folder=path.parent, is_fed=True) as process:
            # The picture of median brightness is neither dark nor washed out.
            with suppress(BrokenPipeError):
                process.write(look.pictures[lit[len(lit) // 2]])
            with suppress(BrokenPipeError):
                process.stdin.close()
            if status := process.wait():
                raise SetupError(
                    f"ffmpeg cannot write a picture ({process.log.reason()}; exit status {status})"
                    "; check its encoders: it needs png"
                )


def see_overlays(look: Look, hidden: Sequence[Box]) -> SeenOverlays:
    """Return the static overlays of a video, beside boxes that are already painted black."""
    found = find_overlays(look.lumas, look.reduced(hidden))
    if isinstance(found, str):
        return SeenOverlays(boxes=(), unclear=found, look=look)
    boxes = joined_boxes(look.enlarged(found))
    return SeenOverlays(boxes=tuple(boxes), unclear="", look=look)


def _scaled(box: Box, size: tuple[int, int], to: tuple[int, int], *, step: int) -> Box:
    """Return a box in pixels of another size, enlarged to multiples of a step, inside it."""
    edges = []
    for first, length, old, new in (
        (box.x, box.width, size[0], to[0]),
        (box.y, box.height, size[1], to[1]),
    ):
        start = first * new // (old * step) * step
        end = min(new, -(-(first + length) * new // (old * step)) * step)
        edges.append((start, end))
    (left, right), (top, bottom) = edges
    return Box(x=left, y=top, width=right - left, height=bottom - top)
