"""The part of a video's pictures that shows the patient: without borders and dark corners."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from surgrec.circles import Circle, fit_circle, fit_stretch

_SAMPLES = 400
"""Frames that the region is computed from."""
_BRIGHTEST_BLACK = 64.0
"""Borders are darker than this gray level, also in a copy with other brightness."""
_ABOVE_BLACK = 12.0
"""Gray levels above the border at which a pixel is lit."""
_LIT_SHARE = 0.2
"""How often a pixel of the picture is lit, as a share of the most often lit tenth."""
_STEADIEST_SCENE = 3.0
"""Standard deviation over time, in gray levels, from which dark pixels are no border."""
_LEAST_BORDER = 0.1
"""Share of a side of the picture that a border darkens, such as the corners beside a circle."""
_WHITE = 128.0
"""Gray level of dark pixels in a white frame, such as a flash or a title."""
_FEWEST_POINTS = 16
"""Points of an edge from which a circle is fitted."""
_ROUGHEST = 0.03
"""Typical distance of these points from the circle, as a share of its radius."""
_LEAST_OUTSIDE = 0.03
"""Share of the picture that lies outside a circle."""
_STRETCHES = (0.5, 2.0)
"""Least and greatest width / height of a field: a copy may have another aspect ratio."""
_CLEARLY_BETTER = 0.7
"""Distance of the points from an ellipse, as a share of that from a circle, that shows one."""


class _Field(NamedTuple):
    """An ellipse: a circle in the picture whose rows are stretched."""

    circle: Circle
    """In rows that are `stretch` times as high."""
    stretch: float
    """Width / height of the ellipse."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a rectangle, in shares of its sides."""

    y: float = 0.0
    """From -1 (at the upper edge) to 1 (at the lower edge)."""
    x: float = 0.0
    """From -1 (at the left edge) to 1 (at the right edge)."""
    height: float = 1.0
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle in a picture, pixels."""

    center_y: float
    center_x: float
    half_height: float
    half_width: float

    def part(self, window: Window) -> "Region":
        """Return a window of the rectangle."""
        return Region(
            center_y=self.center_y + window.y * (1 - window.height) * self.half_height,
            center_x=self.center_x + window.x * (1 - window.width) * self.half_width,
            half_height=window.height * self.half_height,
            half_width=window.width * self.half_width,
        )


def picture_region(frames: UInt8[np.ndarray, "n h w"]) -> Region:
    """Return the lit rectangle of a video, or the largest square inside a lit circle.

    It stays about the same if borders are cut or added. In a picture with another aspect ratio, the
    circle is an ellipse, and the square the rectangle that shows the same.

    Args:
        frames: Gray pictures of one video.
    """
    sampled = frames[:: max(1, len(frames) // _SAMPLES)]
    lit = _lit_pixels(sampled) if _has_border(sampled) else np.ones(frames.shape[1:], dtype=bool)

    # The square inside a circle does not depend on how much of the circle a copy shows. Text on a
    # border lights few pixels of its rows.
    field = _field(lit)
    if field is not None:
        return _square_inside(field, lit.shape[0], lit.shape[1])
    return _box(lit)


def _box(lit: Bool[np.ndarray, "h w"]) -> Region:
    """Return the rows and columns that are lit more than a third of the most lit one."""
    spans = []
    for counts in (lit.sum(axis=1), lit.sum(axis=0)):
        inside = np.flatnonzero(counts > 0.3 * counts.max())
        if not len(inside):
            inside = np.arange(len(counts))
        spans.append((float(inside[0]), float(inside[-1] + 1)))

    (top, bottom), (left, right) = spans
    return Region(
        center_y=(top + bottom) / 2,
        center_x=(left + right) / 2,
        half_height=(bottom - top) / 2,
        half_width=(right - left) / 2,
    )


def _field(lit: Bool[np.ndarray, "h w"]) -> _Field | None:
    """Return the circle or ellipse whose edge the lit area has inside the picture, or None.

    It is fitted again without the points that lie far from it.
    """
    height, width = lit.shape

    rows = np.flatnonzero(lit.any(axis=1))
    left = lit[rows].argmax(axis=1)
    right = width - lit[rows, ::-1].argmax(axis=1)
    y, x = np.concatenate([rows, rows]) + 0.5, np.concatenate([left, right]).astype(np.float64)

    # The border of the picture is not the edge of the circle.
    is_edge = (x > 1) & (x < width - 1)
    y, x = y[is_edge], x[is_edge]

    for _ in range(3):
        if len(y) < _FEWEST_POINTS:
            return None
        circle, stretch, errors = _fit(x, y)
        typical = float(np.median(errors))
        is_near = errors <= max(3 * typical, 1.0)
        y, x = y[is_near], x[is_near]

    is_inside = 0 < circle.y < height * stretch and 0 < circle.x < width
    is_rough = typical > _ROUGHEST * circle.radius
    if not is_inside or is_rough or not height * stretch / 4 < circle.radius < width:
        return None
    field = _Field(circle, stretch)
    return field if _separates(field, lit) else None


def _fit(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]
) -> tuple[Circle, float, Float64[np.ndarray, " n"]]:
    """Return the circle through some points, 1, and their distances; or those of an ellipse.

    An ellipse must be clearly better: from short arcs, its height is uncertain.
    """
    circle, errors = fit_circle(x, y)
    stretch = fit_stretch(x, y)
    if stretch is None or not _STRETCHES[0] <= stretch <= _STRETCHES[1]:
        return circle, 1.0, errors

    ellipse, ellipse_errors = fit_circle(x, y * stretch)
    typical, ellipse_typical = float(np.median(errors)), float(np.median(ellipse_errors))
    is_rough = typical > _ROUGHEST * circle.radius
    if ellipse_typical < (1.0 if is_rough else _CLEARLY_BETTER) * typical:
        return ellipse, stretch, ellipse_errors
    return circle, 1.0, errors


def _separates(field: _Field, lit: Bool[np.ndarray, "h w"]) -> bool:
    """Return whether the picture is lit inside the field and black everywhere outside."""
    circle, stretch = field
    y, x = np.ogrid[0.5 : lit.shape[0], 0.5 : lit.shape[1]]
    inside = np.hypot(y * stretch - circle.y, x - circle.x) < circle.radius
    outside_share = 1 - float(inside.mean())
    return (
        outside_share > _LEAST_OUTSIDE
        and float(lit[inside].mean()) > 0.85
        and float(lit[~inside].mean()) < 0.1
    )


def _square_inside(field: _Field, height: int, width: int) -> Region:
    """Return the square inside a field and the picture, around the center of the field."""
    circle, stretch = field
    to_edge = min(circle.y, height * stretch - circle.y, circle.x, width - circle.x)
    half = max(min(circle.radius * np.sqrt(0.5), to_edge), 4.0)
    return Region(
        center_y=circle.y / stretch,
        center_x=circle.x,
        half_height=float(half) / stretch,
        half_width=float(half),
    )


def _has_border(frames: UInt8[np.ndarray, "n h w"]) -> bool:
    """Return whether a side of the picture is dark and stays so: a dark scene changes.

    White frames do not count.
    """
    mean = _mean(frames)
    darkest = frames[:, mean <= np.percentile(mean, 1)]
    shown = frames[np.median(darkest, axis=1) < _WHITE]
    if not len(shown):
        return True

    edges = (np.s_[:, 0], np.s_[:, -1], np.s_[:, :, 0], np.s_[:, :, -1])
    sides = [shown[edge].astype(np.float64) for edge in edges]
    return any(
        float(
            np.mean((side.std(axis=0) < _STEADIEST_SCENE) & (side.mean(axis=0) < _BRIGHTEST_BLACK))
        )
        >= _LEAST_BORDER
        for side in sides
    )


def _lit_pixels(frames: UInt8[np.ndarray, "n h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which pixels are lit now and then. A few white frames do not matter.

    The corners of a picture are dark for long times, but a border is black in all of them.
    """
    mean = _mean(frames)
    black = min(float(np.percentile(mean, 1)), _BRIGHTEST_BLACK)
    share = _mean(frames > black + _ABOVE_BLACK)
    lit: Bool[np.ndarray, "h w"] = share > _LIT_SHARE * np.percentile(share, 90)
    return lit


def _mean(values: np.ndarray) -> Float64[np.ndarray, "h w"]:
    return np.asarray(values.mean(axis=0), dtype=np.float64)
