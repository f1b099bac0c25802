"""Fields of pictures: whether the lines of a picture were taken at one moment or at two.

Pure functions on gray pictures. An interlaced picture has two fields: its even lines are the top
field, its odd lines the bottom field. `combing` is the mean difference of lines from the mean of
the two lines around them. Three pictures give three of it: that of the picture itself, and those
with every second line taken from the field before or behind. Of a progressive picture that moves,
the lines of the picture itself fit best. Of an interlaced one, the field of the neighbor that is as
close in time as the own one fits as well, and the field that is further away fits worse. Noise and
fine detail add the same to all three.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int16

Scan = Literal["progressive", "tff", "bff"]
"""One moment per picture; or two fields per picture, the top or the bottom field first."""
SCANS: tuple[Scan, ...] = ("progressive", "tff", "bff")
Gray = Int16[np.ndarray, "h w"]

_MOTION, _FAINT = 0.03, 0.05
"""Smallest difference between combings that is motion: share of the combing, and gray levels."""
_SAME, _OTHER = 0.3, 0.7
"""Below, two combings are equal; above, they differ: share of the largest difference."""
_COARSE = 5
"""Columns that are summed. Fine detail that moves far is alike at no two moments."""
_ENOUGH, _CLEARLY = 4, 4
"""Least number of pictures for a verdict, and how many times those of another scan."""
_CHANGE = 6
"""Number of pictures that must contradict a scan before another one begins."""
_HAIR = 1e-7


class Stretch(NamedTuple):
    """Consecutive pictures of one scan, up to the next stretch."""

    first: int
    """Number of the first picture."""
    scan: Scan


def scan_of(before: Gray, picture: Gray, after: Gray) -> Scan | None:
    """Return how a picture was scanned; None if nothing moves, or if it is unclear.

    Args:
        before: The picture before, gray levels 0 to 255.
        picture: The picture.
        after: The picture after it.
    """
    pictures = before, picture, after
    fine = _judge(*_combings(*pictures))
    coarse = _judge(*(value / _COARSE for value in _combings(*map(_coarse, pictures))))
    return max(fine, coarse, key=lambda judged: (judged[0] is not None, judged[1]))[0]


def _coarse(picture: Gray) -> Int16[np.ndarray, "h c"]:
    height, width = picture.shape
    columns = width - width % _COARSE
    groups = picture[:, :columns].reshape(height, -1, _COARSE)
    return np.asarray(groups.sum(axis=2), dtype=np.int16)


def _combings(before: Gray, picture: Gray, after: Gray) -> tuple[float, float, float]:
    """Return the combing of a picture, and two others.

    They are those with even lines from before and odd ones from behind, and the reverse. The first
    one is the larger if the top field is the earlier one.
    """
    around = picture[:-2] + picture[2:]
    own = np.abs(around - 2 * picture[1:-1])
    old, new = np.abs(around - 2 * before[1:-1]), np.abs(around - 2 * after[1:-1])
    odd, even = slice(0, None, 2), slice(1, None, 2)  # line 0 has no line above it
    size = own.size
    return (
        float(own.sum() / size),
        float((old[even].sum() + new[odd].sum()) / size),
        float((old[odd].sum() + new[even].sum()) / size),
    )


def _judge(own: float, top: float, bottom: float) -> tuple[Scan | None, float]:
    """Return the scan that three combings tell, and the strength of the motion."""
    low, high = min(top, bottom), max(top, bottom)
    near, far = sorted((abs(top - own), abs(bottom - own)))
    motion = far / (own + 1.0)
    if far < _MOTION * own + _FAINT:
        return None, motion
    interlaced: tuple[Scan, Scan] = ("tff", "bff") if top > bottom else ("bff", "tff")

    if own < low:
        if near > _OTHER * far:
            return "progressive", motion
        return (interlaced[0] if near < _SAME * far else None), motion
    # Stripes that move by their distance fit the field that is further away.
    is_aliased = abs(high - own) < _SAME * (own - low)
    if is_aliased:
        return interlaced[1], motion
    return (interlaced[0] if own < high else None), motion


def common_scan(scans: Iterable[Scan | None]) -> Scan | None:
    """Return the scan of consecutive pictures; None if it is unclear.

    Of pulled-down film (3:2), two of five pictures are interlaced, and one is progressive.
    """
    found = [scan for scan in scans if scan is not None]
    progressive, top, bottom = (found.count(scan) for scan in SCANS)
    most, least = max(top, bottom), min(top, bottom)
    if most >= max(_ENOUGH, _CLEARLY * least, progressive):
        return "tff" if top > bottom else "bff"
    is_progressive = progressive >= max(_ENOUGH, _CLEARLY * (top + bottom))
    return "progressive" if is_progressive else None


def may_be_interlaced(scans: Iterable[Scan | None]) -> bool:
    """Return whether consecutive pictures seem to have fields, in whichever order."""
    found = [scan for scan in scans if scan is not None]
    progressive = found.count("progressive")
    return len(found) - progressive >= max(_ENOUGH, progressive)


def stretches(scans: Sequence[Scan | None], *, most: int) -> tuple[Stretch, ...]:
    """Return the stretches of one scan that explain the pictures best.

    A picture that contradicts its stretch costs 1, and a change costs a few pictures (Viterbi). An
    unclear picture between two stretches belongs to the interlaced one.

    Args:
        scans: How each picture was scanned; None if it is unclear.
        most: Largest number of stretches.
    """
    change = _CHANGE
    while len(found := _best_stretches(scans, change)) > most:
        change *= 4
    return found


def _best_stretches(scans: Sequence[Scan | None], change: int) -> tuple[Stretch, ...]:
    costs, origins = [0.0] * len(SCANS), []
    for scan in scans:
        cheapest = costs.index(min(costs))
        limit = costs[cheapest] + change
        origins.append([own if cost <= limit else cheapest for own, cost in enumerate(costs)])
        costs = [min(cost, limit) + _cost(scan, of) for of, cost in zip(SCANS, costs, strict=True)]

    state, starts = costs.index(min(costs)), []
    for number in reversed(range(len(scans))):
        origin = origins[number][state]
        if origin != state or number == 0:
            starts.append(Stretch(number, SCANS[state]))
        state = origin
    return tuple(reversed(starts))


def _cost(scan: Scan | None, of: Scan) -> float:
    if scan is None:
        return _HAIR if of == "progressive" else 0.0
    return float(scan != of)
