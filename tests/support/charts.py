"""Recordings of a chart that shows its own time, its own corners, and which way is up."""

import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
from jaxtyping import UInt8

Gray = UInt8[np.ndarray, "_ _"]

CORNERS = (235, 195, 90, 65)
"""Luma of the marks in the corners of the chart: upper left, upper right, lower left, lower right.
All are brighter than a black border, and no two are alike."""
_BITS = 12
_LOW, _HIGH = 70, 225


def chart(time_s: float, width: int, height: int) -> Gray:
    """Return a picture of the chart: stripe k of its middle third is bit k of the time in 1/100 s.

    The upper and the lower third move, and have a mark in each corner.
    """
    columns = np.arange(width)
    rows = np.arange(height)[:, None]
    picture = np.tile(135 + 25 * np.sin((columns + 200 * time_s) / 6), (height, 1))
    bit = columns * _BITS // width
    lit = (round(time_s * 100) >> bit) & 1
    is_middle = (rows >= height / 3) & (rows < height * 2 / 3)
    picture = np.where(is_middle, np.where(lit, _HIGH, _LOW), picture)

    side = height // 6
    for luma, rows_of, columns_of in zip(
        CORNERS,
        (slice(side), slice(side), slice(height - side, height), slice(height - side, height)),
        (slice(side), slice(width - side, width)) * 2,
        strict=True,
    ):
        picture[rows_of, columns_of] = luma
    return picture.round().astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a stored picture of the chart shows."""

    corners: tuple[float, float, float, float]
    time_s: float


def read_chart(picture: Gray) -> Reading:
    """Read a picture that shows the chart and nothing else."""
    height, width = picture.shape
    # The marks reach into a sixth of the height; a twelfth is inside them, if the crop is right.
    side = height // 12
    corners = (
        picture[:side, :side],
        picture[:side, -side:],
        picture[-side:, :side],
        picture[-side:, -side:],
    )
    middle = picture[height * 4 // 10 : height * 6 // 10].mean(axis=0)
    centers = ((np.arange(_BITS) + 0.5) * width / _BITS).astype(int)
    bits = middle[centers] > (_LOW + _HIGH) / 2
    first, second, third, fourth = (float(np.median(corner)) for corner in corners)
    return Reading(
        corners=(first, second, third, fourth),
        time_s=float((bits * (1 << np.arange(_BITS))).sum()) / 100,
    )


@dataclass(frozen=True, kw_only=True)
class Scope:
    """A picture as displayed, that shows the chart in a part of it."""

    width: int = 320
    height: int = 240
    box: tuple[int, int, int, int] = (0, 0, 320, 240)
    """The chart: x, y, width, height."""
    radius: int = 0
    """If positive: the chart lies in a bright circle around it, of this radius."""

    def picture(self, time_s: float) -> Gray:
        """Return the picture at a time."""
        left, top, width, height = self.box
        picture = np.full((self.height, self.width), 16, np.uint8)
        if self.radius:
            rows, columns = np.mgrid[: self.height, : self.width]
            distance = np.hypot(columns - left - width / 2, rows - top - height / 2)
            picture[distance <= self.radius] = 135
        picture[top : top + height, left : left + width] = chart(time_s, width, height)
        return picture


@dataclass(frozen=True, kw_only=True)
class Turn:
    """A change of the stored pictures that players undo."""

    change: Callable[[Gray], Gray]
    matrix: tuple[int, int, int, int]
    """What players do, as the first numbers of the matrix in an MP4."""


TURNS = {
    "turned": Turn(change=np.rot90, matrix=(0, 1, -1, 0)),
    "upside-down": Turn(change=lambda picture: np.rot90(picture, 2), matrix=(-1, 0, 0, -1)),
    "turned-back": Turn(change=lambda picture: np.rot90(picture, 3), matrix=(0, -1, 1, 0)),
    "mirrored": Turn(change=np.fliplr, matrix=(-1, 0, 0, 1)),
    "flipped": Turn(change=np.flipud, matrix=(1, 0, 0, -1)),
    "transposed": Turn(change=np.transpose, matrix=(0, 1, 1, 0)),
}
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 12, "-g", 25)


def record(
    path: Path,
    scope: Scope,
    *,
    seconds: float = 4,
    rate: str = "25",
    start_s: float = 0,
    turned: Turn | None = None,
    narrow: bool = False,
    filters: str = "null",
    options: Sequence[object] = X264,
) -> Path:
    """Record a scope with ffmpeg.

    Args:
        path: The file; its suffix selects the container.
        scope: What the video shows.
        seconds: Length.
        rate: Pictures per second, as ffmpeg reads it.
        start_s: Time of the first picture.
        turned: What was done to the stored pictures; an MP4 tells players to undo it.
        narrow: Leave out every second column, as of pixels that are twice as wide.
        filters: Filters of ffmpeg before the encoder.
        options: Options of the output.
    """
    numerator, _, denominator = rate.partition("/")
    per_second = int(numerator) / int(denominator or 1)
    pictures = []
    for number in range(round(seconds * per_second)):
        picture = scope.picture(start_s + number / per_second)
        picture = picture if turned is None else turned.change(picture)
        pictures.append(picture[:, :: 2 if narrow else 1])
    height, width = pictures[0].shape
    gray = bytes([128]) * (2 * ((width + 1) // 2) * ((height + 1) // 2))
    data = b"".join(picture.tobytes() + gray for picture in pictures)

    command = ["ffmpeg", "-v", "error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-s", f"{width}x{height}", "-r", rate, "-i", "pipe:", "-vf", filters]
    command += [*map(str, options), str(path)]
    subprocess.run(command, input=data, check=True, capture_output=True)
    if turned is not None:
        _tell(path, turned)
    return path


def _tell(path: Path, turned: Turn) -> None:
    """Write the matrix of the displayed picture into an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in turned.matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def stored_pictures(source: Path) -> Iterator[tuple[dict[str, Any], list[Gray]]]:
    """Yield each row of the index of a source with the luma of all pictures of its clip."""
    for row in parquet.read_table(source / "index.parquet").to_pylist():
        with (source / row["shard"]).open("rb") as file:
            file.seek(row["mp4_offset"])
            data = file.read(row["mp4_size"])
        yield row, luma_of(data, row["width"], row["height"])


def luma_of(mp4: bytes, width: int, height: int) -> list[Gray]:
    """Decode the luma of a clip."""
    command = ["ffmpeg", "-v", "error", "-i", "pipe:", "-vf", "extractplanes=y"]
    command += ["-fps_mode", "passthrough", "-f", "rawvideo", "-"]
    data = subprocess.run(command, input=mp4, check=True, capture_output=True).stdout
    return list(np.frombuffer(data, np.uint8).reshape(-1, height, width))
