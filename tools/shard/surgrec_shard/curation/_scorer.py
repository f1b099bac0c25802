"""Scores of the pictures of one video, one per second, by a user's model."""

import math
from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from surgrec.recordings import BadVideoError
from surgrec_shard.clip_writer import FrameFormat
from surgrec_shard.curation._measures import Plane
from surgrec_shard.curation._model import FAILED, REMEDY, FrameModel, Rgb

_COLORSPACE = "colorspace="
_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
}
"""Weights of red and blue in luma."""
_USUAL_WEIGHTS = (0.299, 0.114)
"""Those of BT.601, also of videos that do not tell, as ffmpeg decodes them."""


class Scorer:
    """Collects pictures and scores several at once.

    Args:
        model: The model; None: there are no scores.
        frames: The format of the frames.
    """

    def __init__(self, model: FrameModel | None, frames: FrameFormat) -> None:
        self._model, self._rate = model, frames.rate
        self._weights = _weights_of(frames.colors)
        self._waiting: dict[int, tuple[int, Rgb]] = {}
        self.scores: dict[int, float] = {}
        """Scores by the number of the frame."""
        self._frames: list[int] = []

    def add(self, frame: int, block: int, planes: tuple[Plane, Plane, Plane]) -> None:
        """Add a frame, in order. The number of its block gives its place in a call.

        Raises:
            BadVideoError: The model gives no score.
        """
        if self._model is None:
            return
        place = block % self._model.batch
        if place <= max(self._waiting, default=-1):
            self.finish()
        size = (self._model.height, self._model.width)
        self._waiting[place] = (frame, rgb_picture(planes, size, self._weights))
        if place == self._model.batch - 1:
            self.finish()

    def finish(self) -> None:
        """Score the frames that wait.

        Raises:
            BadVideoError: The model gives no score.
        """
        waiting, self._waiting = self._waiting, {}
        if self._model is None or not waiting:
            return
        found = self._model.scores({place: rgb for place, (_, rgb) in waiting.items()})
        for place, (frame, _) in waiting.items():
            if not math.isfinite(found[place]):
                raise BadVideoError(
                    FAILED,
                    f"the model of curate.model gives the score {found[place]:g} at "
                    f"{float(frame / self._rate):.1f} s; {REMEDY}",
                )
            self.scores[frame] = found[place]
            self._frames.append(frame)

    def mean(self, first: int, end: int) -> float | None:
        """Return the mean score of the frames from `first` to `end`; None without a model.

        If none of them was scored, the score of their second counts.
        """
        if self._model is None:
            return None
        low, high = (bisect_left(self._frames, frame) for frame in (first, end))
        if low == high:
            low, high = max(0, low - 1), max(1, high)
        inside = [self.scores[frame] for frame in self._frames[low:high]]
        return round(sum(inside) / len(inside), 4)


def rgb_picture(
    planes: tuple[Plane, Plane, Plane], size: tuple[int, int], weights: tuple[float, float]
) -> Rgb:
    """Return a frame in yuv420p of limited range as RGB from 0 to 1, of another size.

    The whole picture is scaled, whatever its aspect. A pixel is the mean of the area that it
    covers. Sums of whole numbers make it the same on every machine.

    Args:
        planes: The planes of the frame.
        size: Height and width of the result.
        weights: Weights of red and blue in luma.
    """
    luma, blue, red = (_area_means(plane, *size) for plane in planes)
    of_red, of_blue = weights

    luma, blue, red = (luma - 16) / 219, (blue - 128) / 224, (red - 128) / 224
    red = luma + 2 * (1 - of_red) * red
    blue = luma + 2 * (1 - of_blue) * blue
    green = (luma - of_red * red - of_blue * blue) / (1 - of_red - of_blue)
    picture: Float32[np.ndarray, "3 h w"] = np.stack([red, green, blue]).clip(0, 1)
    return picture.astype(np.float32)


def _area_means(
    plane: UInt8[np.ndarray, "_ _"], height: int, width: int
) -> Float64[np.ndarray, "_ _"]:
    """Return a plane of another size, each pixel the mean of its area."""
    return _row_means(_row_means(plane.astype(np.float64), height).T, width).T


def _row_means(rows: Float64[np.ndarray, "_ _"], count: int) -> Float64[np.ndarray, "_ _"]:
    """Return `count` rows, each the mean of the rows that it covers."""
    sums = np.zeros((rows.shape[0] + 1, rows.shape[1]))
    np.cumsum(rows, axis=0, out=sums[1:])

    # The sum of the rows above each edge, which may lie within a row.
    edges = np.arange(count + 1) * rows.shape[0] / count
    whole = np.minimum(edges.astype(np.int64), rows.shape[0] - 1)
    above = sums[whole] + (edges - whole)[:, None] * rows[whole]
    means: Float64[np.ndarray, "_ _"] = np.diff(above, axis=0) * (count / rows.shape[0])
    return means


def _weights_of(colors: Sequence[str]) -> tuple[float, float]:
    named = [each.removeprefix(_COLORSPACE) for each in colors if each.startswith(_COLORSPACE)]
    return _WEIGHTS.get(named[0], _USUAL_WEIGHTS) if named else _USUAL_WEIGHTS
