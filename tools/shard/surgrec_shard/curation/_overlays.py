"""Static overlays: text, logos and signs that a device draws over all pictures of a video.

The strokes of a letter stay where they are, and keep their brightness, while the picture below
changes. Pure functions of a few pictures over the whole video.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from surgrec.recordings.view import Box

Gray = UInt8[np.ndarray, "_ _"]
Stack = UInt8[np.ndarray, "n _ _"]
Mask = Bool[np.ndarray, "_ _"]

_SHOWN = 0.05
"""Share of pixels brighter than a border in a picture that shows something."""
_DARK = 40
"""Luma that a black border has at most, with its noise."""
_FEWEST_PICTURES = 8
"""Pictures that differ, from which an overlay is sure."""
_LEAST_CHANGE = 1.0
"""Mean change of luma between pictures that differ."""
_EDGE = 24
"""Change of luma over two pixels at an edge."""
_STAYS, _RETURNS = 0.8, 0.25
"""Share of the pictures with an edge of an overlay, and with one of a changing digit."""
_STROKE = 8
"""Largest distance of an edge from its opposite, pixels."""
_BRIGHT = 60
"""Least luma of the bright side of an edge."""
_MOST_CHANGED = 0.2
"""Share of the pictures in which it may have another brightness, such as behind a menu."""
_NOISE, _MOST_NOISE = 3, 10
"""Change of luma that compression may cause: in the dark, and at most."""
_MOST_STILL = 0.6
"""Share of the lit picture that stands still at most."""
_CELL = 8
"""Side of the cells that are grouped, pixels."""
_FEWEST_IN_CELL, _FEWEST_EDGES = 3, 24
"""Pixels of edges in a cell, and in an overlay."""
_MARGIN = 3
"""Pixels around an overlay: its edges are blurred."""


def find_overlays(pictures: Sequence[Gray], hidden: Sequence[Box] = ()) -> list[Box] | str:
    """Return boxes around the static overlays of a video, or why they cannot be told.

    Args:
        pictures: Luma of pictures of one size, over the whole video.
        hidden: Boxes that are already painted black.
    """
    stack = _different(pictures)
    if len(stack) < _FEWEST_PICTURES:
        return f"only {len(stack)} of {len(pictures)} pictures show something new"
    if _stands_still(stack):
        return "most of the picture stands still"

    # An edge of a field or of a border has no opposite beside it, and that of a tool does not stay.
    shares = _edge_shares(stack)
    for box in hidden:
        shares[(slice(None), *_around(box))] = 0
    stays = _strokes(shares >= _STAYS)
    stays &= _grown(_steady(stack, _grown(stays)))
    returns = _strokes(shares >= _RETURNS)

    found = []
    digits = _per_cell(returns) >= _FEWEST_IN_CELL
    for group in _groups(_per_cell(stays) >= _FEWEST_IN_CELL, digits):
        inside = np.kron(group, np.ones((_CELL, _CELL), bool))[: stack.shape[1], : stack.shape[2]]
        if (stays & inside).sum() >= _FEWEST_EDGES:
            found.append(_bounds((stays | returns) & inside))
    return joined_boxes(found)


def joined_boxes(boxes: Sequence[Box]) -> list[Box]:
    """Return boxes of which none overlap: those that do are joined. The topmost is the first."""
    apart: list[Box] = []
    for box in boxes:
        while (other := next((each for each in apart if box.overlap(each)), None)) is not None:
            apart.remove(other)
            box = box.joined(other)
        apart.append(box)
    return sorted(apart, key=lambda box: (box.y, box.x))


def _different(pictures: Sequence[Gray]) -> Stack:
    """Return the pictures that show something, and differ from the one before them."""
    chosen: list[Gray] = []
    for picture in pictures:
        if (picture > _DARK).mean() < _SHOWN:
            continue
        if not chosen or np.abs(picture.astype(np.int16) - chosen[-1]).mean() >= _LEAST_CHANGE:
            chosen.append(picture)
    return np.stack(chosen) if chosen else np.zeros((0, 2, 2), np.uint8)


def _stands_still(stack: Stack) -> bool:
    """Return whether most of the lit picture does not change, as before a fixed camera."""
    median, is_steady = _steadiness(stack[:, ::4, ::4].reshape(len(stack), -1))
    lit = median > _DARK
    return bool((is_steady & lit).sum() > _MOST_STILL * lit.sum())


def _steadiness(
    values: UInt8[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, " k"], Bool[np.ndarray, " k"]]:
    """Return the median luma of some pixels, and whether most pictures are close to it."""
    median = np.median(values, axis=0)
    change = np.quantile(np.abs(values - median), 1 - _MOST_CHANGED, axis=0)
    return median, change <= np.clip(0.1 * (median - 16), _NOISE, _MOST_NOISE)


def _edge_shares(stack: Stack) -> Float[np.ndarray, "4 _ _"]:
    """Return in which share of the pictures each pixel is at an edge, for four directions."""
    counts = np.zeros((4, *stack.shape[1:]), np.int32)
    for picture in stack:
        luma = picture.astype(np.int16)
        across, down = luma[:, 2:] - luma[:, :-2], luma[2:] - luma[:-2]
        counts[0, :, 1:-1] += across > _EDGE
        counts[1, :, 1:-1] += across < -_EDGE
        counts[2, 1:-1] += down > _EDGE
        counts[3, 1:-1] += down < -_EDGE
    shares: np.ndarray = counts / len(stack)
    return shares


def _strokes(edges: Bool[np.ndarray, "4 _ _"]) -> Mask:
    """Return the edges that have an opposite edge beside them."""
    right, left, down, up = edges
    across = (right & _spread(left, _STROKE, 1)) | (left & _spread(right, _STROKE, 1))
    along = (down & _spread(up, _STROKE, 0)) | (up & _spread(down, _STROKE, 0))
    either: np.ndarray = across | along
    return either


def _steady(stack: Stack, near: Mask) -> Mask:
    """Return the bright pixels that do not change, among some of them."""
    median, is_steady = _steadiness(stack[:, near])
    result = np.zeros(near.shape, bool)
    result[near] = is_steady & (median >= _BRIGHT)
    return result


def _grown(mask: Mask) -> Mask:
    """Return a mask that is larger by two pixels in each direction."""
    return _spread(_spread(mask, 2, 0), 2, 1)


def _spread(mask: Mask, distance: int, axis: int) -> Mask:
    """Return a mask that is larger along an axis, both ways."""
    size = mask.shape[axis]
    counts = np.insert(np.cumsum(mask, axis=axis, dtype=np.int32), 0, 0, axis=axis)
    starts = np.maximum(np.arange(size) - distance, 0)
    ends = np.minimum(np.arange(size) + distance + 1, size)
    larger: np.ndarray = counts.take(ends, axis) > counts.take(starts, axis)
    return larger


def _per_cell(mask: Mask) -> Int[np.ndarray, "_ _"]:
    """Return how many pixels of each cell are marked."""
    rows = np.add.reduceat(mask, range(0, mask.shape[0], _CELL), axis=0, dtype=np.int64)
    return np.add.reduceat(rows, range(0, mask.shape[1], _CELL), axis=1)


def _groups(letters: Mask, digits: Mask) -> Iterator[Mask]:
    """Yield the groups of cells with letters that are close to each other, and digits beside."""
    letters_left = {tuple(map(int, cell)) for cell in np.argwhere(letters)}
    digits_left = {tuple(map(int, cell)) for cell in np.argwhere(digits & ~letters)}
    while letters_left:
        group, waiting = np.zeros_like(letters), [letters_left.pop()]

        # Flood fill: letters join within two columns and one row, digits in their row alone.
        while waiting:
            row, column = waiting.pop()
            group[row, column] = True
            beside = {(row, column + step) for step in (-2, -1, 1, 2)}
            around = {(line, each) for _, each in beside for line in (row - 1, row, row + 1)}
            around |= {(row - 1, column), (row + 1, column)}
            found = (around & letters_left) | (beside & digits_left)
            letters_left -= found
            digits_left -= found
            waiting += found

        yield group


def _bounds(mask: Mask) -> Box:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = max(0, int(rows[0]) - _MARGIN), max(0, int(columns[0]) - _MARGIN)
    bottom = min(mask.shape[0], int(rows[-1]) + 1 + _MARGIN)
    right = min(mask.shape[1], int(columns[-1]) + 1 + _MARGIN)
    return Box(x=left, y=top, width=right - left, height=bottom - top)


def _around(box: Box) -> tuple[slice, slice]:
    """Return the rows and columns of a box and of its edges."""
    margin = 2 * _MARGIN
    return (
        slice(max(0, box.y - margin), box.y + box.height + margin),
        slice(max(0, box.x - margin), box.x + box.width + margin),
    )
