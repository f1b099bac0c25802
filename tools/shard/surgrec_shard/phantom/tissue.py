"""A sheet of tissue under a camera: it is seen moving, breathing and giving way, at the cost of one warp a frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8

from surgrec_shard.phantom.opencv import cv2
from surgrec_shard.phantom.texture import noise

CELL_PX = 16
"""The warp is known at nodes this far apart and interpolated between them."""

NUM_BENDS = 2
"""Ways in which a sheet bends: breath and pulse."""

PARALLAX = 0.5
"""The light moves with the camera, so highlights cross the tissue at this share of the camera's speed."""


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Where the camera looks: an offset in pixels of the sheet, a magnification, a roll in radians."""

    x: float = 0.0
    y: float = 0.0
    zoom: float = 1.0
    roll: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Pull:
    """Tissue drawn along by a tip: at (x, y) of the picture it is moved by (dx, dy), fading with `radius` pixels."""

    x: float
    y: float
    dx: float
    dy: float
    radius: float = 90.0


class Tissue:
    """A picture larger than the frame, its wet highlights, and the ways in which it bends."""

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

    def seen(
        self, camera: Camera, bends: list[float], pull: Pull | None = None
    ) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "half_h half_w"]]:
        """What the camera sees: the frame, and at half its size the wet highlights, which slide as the camera moves.

        Args:
            camera: Where it looks.
            bends: For each way of bending, the largest movement in pixels.
            pull: What an instrument does to the sheet.
        """
        height, width = self._size
        places = self._looked_at(camera, bends, pull)
        frame = warped(self._picture, _dense(places, (height, width), CELL_PX))
        slid = (places - np.array([camera.x * PARALLAX, camera.y * PARALLAX], np.float32)) / 2
        return frame, warped(self._gloss, _dense(slid, (height // 2, width // 2), CELL_PX // 2))

    def _looked_at(
        self, camera: Camera, bends: list[float], pull: Pull | None
    ) -> Float32[np.ndarray, "rows columns 2"]:
        cosine, sine = np.cos(camera.roll) / camera.zoom, np.sin(camera.roll) / camera.zoom
        turn = np.array([[cosine, sine], [-sine, cosine]], np.float32)
        middle = np.array(
            [self._picture.shape[1] / 2 + camera.x, self._picture.shape[0] / 2 + camera.y],
            np.float32,
        )
        places = self._nodes @ turn + middle
        for bend, amount in zip(self._bends, bends, strict=True):
            places += bend * amount
        if pull is not None:
            away = self._nodes - np.array(
                [pull.x - self._size[1] / 2, pull.y - self._size[0] / 2], np.float32
            )
            weight = np.exp(-(away**2).sum(axis=-1, keepdims=True) / pull.radius**2)
            places -= weight * np.array([pull.dx, pull.dy], np.float32)
        return places

    def _bend(self, random: np.random.Generator) -> Float32[np.ndarray, "rows columns 2"]:
        ways = [noise(random, (self._rows, self._columns), cell_px=14, octaves=2) for _ in range(2)]
        return np.stack(ways, axis=-1)


def warped(
    picture: UInt8[np.ndarray, "..."], places: Float32[np.ndarray, "h w 2"]
) -> UInt8[np.ndarray, "..."]:
    """The picture at one place (x, y) for each pixel of a frame."""
    # Fixed-point maps halve the cost of the warp.
    whole, fraction = cv2.convertMaps(places, np.empty(0, np.float32), cv2.CV_16SC2)
    return cv2.remap(picture, whole, fraction, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _dense(
    nodes: Float32[np.ndarray, "rows columns 2"], size: tuple[int, int], cell_px: int
) -> Float32[np.ndarray, "h w 2"]:
    """A place for each pixel, from nodes that reach one cell past the frame on every side."""
    rows, columns, _ = nodes.shape
    wide = cv2.resize(nodes, (columns * cell_px, rows * cell_px), interpolation=cv2.INTER_LINEAR)
    return wide[cell_px : cell_px + size[0], cell_px : cell_px + size[1]]
