"""Scores of segments: the edit score and the segmental F1 (Lea et al. 2017, arXiv:1611.05267)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

OVERLAPS = (0.10, 0.25, 0.50)
"""Least intersection over union of a segment that counts as found, of F1@10, F1@25, F1@50."""


@dataclass(frozen=True)
class Segment:
    """A stretch of equal values: samples `start` to `end`, without `end`."""

    start: int
    end: int
    value: int


class SegmentCounts(NamedTuple):
    """Segments that were found, predicted in vain, and missed."""

    found: int
    false: int
    missed: int


def segments(values: Int64[np.ndarray, " n"]) -> list[Segment]:
    """Return the stretches of equal values, in time order."""
    if not len(values):
        return []
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
    ends = [*starts[1:], len(values)]
    return [
        Segment(start, end, int(values[start])) for start, end in zip(starts, ends, strict=True)
    ]


def edit_score(label: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"]) -> float:
    """Return 1 minus the edit distance of both sequences of segments, over the longer one's length.

    It counts segments that are missing, superfluous or of the wrong class, whatever their length.
    Range [0, 1]; publications give it in percent.
    """
    truth, found = (
        [segment.value for segment in segments(values)] for values in (label, predicted)
    )
    if not truth and not found:
        return 1.0
    return 1 - _levenshtein(truth, found) / max(len(truth), len(found))


def segment_counts(
    label: Int64[np.ndarray, " n"], predicted: Int64[np.ndarray, " n"], overlap: float
) -> SegmentCounts:
    """Count the segments that were found.

    A predicted segment is compared with the labeled segment of its class that overlaps it most. It
    is right if their intersection over union is at least `overlap`, and if no earlier segment took
    this one.
    """
    truth = segments(label)
    taken = [False] * len(truth)
    found = false = 0

    for guess in segments(predicted):
        best, best_overlap = -1, 0.0
        for index, segment in enumerate(truth):
            if segment.value == guess.value:
                shared = min(guess.end, segment.end) - max(guess.start, segment.start)
                union = max(guess.end, segment.end) - min(guess.start, segment.start)
                if shared / union > best_overlap:
                    best, best_overlap = index, shared / union
        if best >= 0 and best_overlap >= overlap and not taken[best]:
            taken[best] = True
            found += 1
        else:
            false += 1
    return SegmentCounts(found=found, false=false, missed=len(truth) - found)


def _levenshtein(first: list[int], second: list[int]) -> int:
    """Return the least number of insertions, deletions and replacements."""
    row = list(range(len(second) + 1))
    for index, value in enumerate(first, start=1):
        previous, row = row, [index]
        for other, guess in enumerate(second, start=1):
            row.append(
                min(previous[other] + 1, row[-1] + 1, previous[other - 1] + (value != guess))
            )
    return row[-1]
