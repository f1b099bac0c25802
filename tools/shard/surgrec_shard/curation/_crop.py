"""The part of the picture that shows something: without black borders, or inside a circular field.

A few pictures over the whole video are looked at, and the brightest value of each pixel counts: a
dark moment hides nothing. Pure functions of these pictures.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from surgrec.circles import fit_circle
from surgrec.recordings.view import Box

Gray = UInt8[np.ndarray, "_ _"]

_DARK = 40
"""Luma that a black border has at most, with its noise."""
_FEWEST_PICTURES = 4
"""Pictures that show something, from which a crop is sure."""
_SHOWN = 0.05
"""Share of bright pixels in a row or column of the picture."""
_LEAST_BRIGHT = 0.5
"""Share of bright pixels in the cropped picture."""
_LARGEST_ERROR = 0.02
"""Median distance of the edge from the circle, as a share of its radius."""
_FEWEST_EDGES = 24
_INSIDE = 0.98
"""Share of the radius that is used: the edge of a field is blurred."""


def find_crop(pictures: Sequence[Gray], *, circle: bool, max_cut: float) -> Box | str:
    """Return the part of all pictures that shows something, or why it is not sure.

    Args:
        pictures: Luma of pictures of one size.
        circle: Take the largest box inside a circular field, not the box around it.
        max_cut: Largest share of the picture that is cut.
    """
    shown = [picture for picture in pictures if (picture > _DARK).mean() >= _SHOWN]
    if len(shown) < _FEWEST_PICTURES:
        return f"only {len(shown)} of {len(pictures)} pictures show something"
    bright = np.maximum.reduce(shown) > _DARK

    # Words beside the field are apart from it, so the longest run of rows and columns is the field.
    top, bottom = _longest(bright.mean(axis=1))
    left, right = _longest(bright[top:bottom].mean(axis=0))
    top, bottom = _longest(bright[:, left:right].mean(axis=1))
    if circle:
        found = _inside_circle(bright, (left, top, right, bottom))
        if found is None:
            return "no circular field is seen"
        left, top, right, bottom = found

    box = _even(left, top, right, bottom)
    height, width = bright.shape
    if box.width < 16 or box.height < 16:
        return f"only {box.width} x {box.height} pixels would be left"
    cut = 1 - box.width * box.height / (width * height)
    if cut > max_cut:
        return f"{cut:.0%} of the picture would be cut, more than {max_cut:.0%}"
    inside = bright[box.y : box.y + box.height, box.x : box.x + box.width]
    if inside.mean() < _LEAST_BRIGHT:
        return f"only {inside.mean():.0%} of the cropped picture is brighter than a border"
    return box


def _longest(shares: np.ndarray) -> tuple[int, int]:
    """Return the longest run of rows or columns that show something."""
    edges = np.diff(np.concatenate([[0], (shares >= _SHOWN).astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return 0, 0
    longest = int(np.argmax(ends - starts))
    return int(starts[longest]), int(ends[longest])


def _inside_circle(
    bright: Bool[np.ndarray, "_ _"], box: tuple[int, int, int, int]
) -> tuple[int, int, int, int] | None:
    """Return the largest box inside the circle whose edge the rows show, or None."""
    left, top, right, bottom = box
    points = []
    for y in range(top, bottom):
        columns = np.flatnonzero(bright[y, left:right]) + left
        # A row that ends at the frame of the picture shows no edge.
        if len(columns) and columns[0] > 1:
            points.append((columns[0] - 0.5, y))
        if len(columns) and columns[-1] < bright.shape[1] - 2:
            points.append((columns[-1] + 0.5, y))
    if len(points) < _FEWEST_EDGES:
        return None

    # A second fit is without the worst points.
    edge = np.array(points, dtype=np.float64)
    for _ in range(2):
        circle, errors = fit_circle(edge[:, 0], edge[:, 1])
        edge = edge[errors <= np.quantile(errors, 0.9)]
    center_x, center_y, radius = circle
    if not radius or float(np.median(errors)) > _LARGEST_ERROR * radius:
        return None
    if radius > bright.shape[1]:  # a straight border
        return None

    radius *= _INSIDE
    half = radius / math.sqrt(2)
    upper, lower = max(float(top), center_y - half), min(float(bottom), center_y + half)
    half_height = max(center_y - upper, lower - center_y)
    if half_height >= radius or upper >= lower:
        return None
    half_width = math.sqrt(radius**2 - half_height**2)
    return (
        math.ceil(max(float(left), center_x - half_width)),
        math.ceil(upper),
        math.floor(min(float(right), center_x + half_width)),
        math.floor(lower),
    )


def _even(left: int, top: int, right: int, bottom: int) -> Box:
    x, y = left + left % 2, top + top % 2
    return Box(x=x, y=y, width=max(0, (right - x) // 2 * 2), height=max(0, (bottom - y) // 2 * 2))
