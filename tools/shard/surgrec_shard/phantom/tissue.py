"""A sheet of tissue under a camera. It moves, breathes and yields, with one warp per frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.texture import noise

CELL_PX = 16
"""Distance between the nodes of the warp, which is interpolated between them."""

NUM_BENDS = 2
"""Number of bends of a sheet: breath and pulse."""

PARALLAX = 0.5
"""Speed of highlights across the tissue, as a share of the camera's: the light moves with it."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """The pose of the camera: offset in pixels of the sheet, magnification, roll in radians."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pull:
    """A displacement (dx, dy) of tissue at (x, y) of the frame, fading over `radius` pixels."""

    x: float
    y: float
    dx: float
    dy: float
    radius: float = 90.0


class Tissue:
    """A picture larger than the frame, its wet highlights, and its bends.

    Args:
        random: Draws the bends.
        picture: The sheet.
        gloss: Its wet highlights.
        size: Height and width of the frame.
    """

    def __init__(
        self,
        random: np.random.Generator,
        picture: UInt8[np.ndarray, "sheet_h sheet_w 3"],
        gloss: UInt8[np.ndarray, "sheet_h sheet_w"],
        size: tuple[int, int],
    ) -> None:
        height, width = self._size = size
        self._picture = picture
        self._gloss = cv2.resize(gloss, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        self._rows, self._columns = -(-height // CELL_PX) + 2, -(-width // CELL_PX) + 2
        across = (np.arange(self._columns) - 0.5) * CELL_PX - width / 2
        down = (np.arange(self._rows) - 0.5) * CELL_PX - height / 2
        self._nodes = np.stack(np.meshgrid(across, down), axis=-1).astype(np.float32)
        self._bends = [self._bend(random) for _ in range(NUM_BENDS)]

    def render(
        self, camera: Camera, bends: list[float], pull: Pull | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "half_h half_w"]]:
        """Return the frame, and at half its size the wet highlights, which slide with the camera.

        Args:
            camera: Pose of the camera.
            bends: Largest displacement of each bend, pixels.
            pull: Displacement by an instrument.
        """
        height, width = self._size
        nodes = self._sheet_positions(camera, bends, pull)
        frame = warped(self._picture, _dense(nodes, (height, width), CELL_PX))
        slid = (nodes - np.array([camera.x * PARALLAX, camera.y * PARALLAX], np.float32)) / 2
        return frame, warped(self._gloss, _dense(slid, (height // 2, width // 2), CELL_PX // 2))

    def _sheet_positions(
        self, camera: Camera, bends: list[float], pull: Pull | None
    ) -> Float32[np.ndarray, "rows columns 2"]:
        """Return the position on the sheet that each node of the frame shows."""
        cosine, sine = np.cos(camera.roll) / camera.zoom, np.sin(camera.roll) / camera.zoom
        turn = np.array([[cosine, sine], [-sine, cosine]], np.float32)
        middle = np.array(
            [self._picture.shape[1] / 2 + camera.x, self._picture.shape[0] / 2 + camera.y],
            np.float32,
        )
        positions = self._nodes @ turn + middle

        for bend, amount in zip(self._bends, bends, strict=True):
            positions += bend * amount
        if pull is not None:
            away = self._nodes - np.array(
                [pull.x - self._size[1] / 2, pull.y - self._size[0] / 2], np.float32
            )
            weight = np.exp(-(away**2).sum(axis=-1, keepdims=True) / pull.radius**2)
            positions -= weight * np.array([pull.dx, pull.dy], np.float32)
        return positions

    def _bend(self, random: np.random.Generator) -> Float32[np.ndarray, "rows columns 2"]:
        axes = [noise(random, (self._rows, self._columns), cell_px=14, octaves=2) for _ in range(2)]
        return np.stack(axes, axis=-1)


def warped(
    picture: UInt8[np.ndarray, "..."], positions: Float32[np.ndarray, "h w 2"]
) -> UInt8[np.ndarray, "..."]:
    """Return the picture at one position (x, y) for each pixel of a frame."""
    # Fixed-point maps halve the cost of the warp.
    whole, fraction = cv2.convertMaps(positions, np.empty(0, np.float32), cv2.CV_16SC2)
    return cv2.remap(picture, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _dense(
    nodes: Float32[np.ndarray, "rows columns 2"], size: tuple[int, int], cell_px: int
) -> Float32[np.ndarray, "h w 2"]:
    """Interpolate a position for each pixel. Nodes reach one cell past the frame on every side."""
    rows, columns, _ = nodes.shape
    wide = cv2.resize(nodes, (columns * cell_px, rows * cell_px), interpolation=cv2.INTER_LINEAR)
    return wide[cell_px : cell_px + size[0], cell_px : cell_px + size[1]]
