"""Circles: the field of a scope is one, on a black picture."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64


class Circle(NamedTuple):
    """A circle, pixels."""

    x: float
    y: float
    radius: float


def fit_circle(
    x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]
) -> tuple[Circle, Float64[np.ndarray, " n"]]:
    """Return the circle through some points by least squares, and the distance of each from it.

    Source: Kasa, A circle fitting procedure and its error analysis, 1976.

    Args:
        x: Columns of at least three points, pixels.
        y: Their rows.
    """
    # x^2 + y^2 = 2 a x + 2 b y + c
    equations = np.column_stack([2 * x, 2 * y, np.ones(len(x))])
    (a, b, c), *_ = np.linalg.lstsq(equations, x**2 + y**2, rcond=None)
    radius = float(np.sqrt(max(c + a * a + b * b, 0.0)))
    return Circle(float(a), float(b), radius), np.abs(np.hypot(x - a, y - b) - radius)


def fit_stretch(x: Float64[np.ndarray, " n"], y: Float64[np.ndarray, " n"]) -> float | None:
    """Return width / height of the upright ellipse through some points by least squares, or None.

    Args:
        x: Columns of at least four points, pixels.
        y: Their rows.
    """
    # x^2 + k y^2 = a x + b y + c, in units in which the numbers are about 1
    unit = float(max(np.ptp(x), np.ptp(y), 1.0))
    u, v = (x - x.mean()) / unit, (y - y.mean()) / unit
    equations = np.column_stack([-(v**2), u, v, np.ones(len(u))])
    (k, *_), *_ = np.linalg.lstsq(equations, u**2, rcond=None)
    return float(np.sqrt(k)) if k > 0 else None
