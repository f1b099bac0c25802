"""The windows of a video, and the times of their frames. Pure: times in, times out."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from surgrec.clips import ClipSampling

TimeSpan = tuple[float, float]
"""Start and end of a part of a video without a gap, in seconds of the video."""

HAIR_S = 1e-3
"""Tolerance of times in seconds. Containers round them; Matroska rounds to milliseconds."""


def joined(spans: Sequence[TimeSpan], gap_s: float) -> tuple[TimeSpan, ...]:
    """Join spans that are at most `gap_s` seconds apart; return the others unchanged."""
    result: list[TimeSpan] = []
    for start_s, end_s in sorted(spans):
        if result and start_s <= result[-1][1] + gap_s + HAIR_S:
            result[-1] = result[-1][0], max(end_s, result[-1][1])
        else:
            result.append((start_s, end_s))
    return tuple(result)


def window_starts(
    spans: Sequence[TimeSpan], span_s: float, stride_s: float
) -> Float64[np.ndarray, " n"]:
    """Return the starts of all windows: the multiples of `stride_s` at which one fits in a span.

    Args:
        spans: Parts of the video without a gap.
        span_s: Seconds of a window.
        stride_s: Seconds from one start to the next.

    Returns:
        Seconds of the video, ascending.
    """
    numbers = [
        number
        for start_s, end_s in spans
        for number in range(
            math.ceil((start_s - HAIR_S) / stride_s),
            math.floor((end_s - span_s + HAIR_S) / stride_s) + 1,
        )
    ]
    return np.asarray(numbers, dtype=np.float64) * stride_s


def window_times(
    starts: Float64[np.ndarray, " n"], sampling: ClipSampling
) -> Float64[np.ndarray, "n t"]:
    """Return the times of the frames of each window.

    They are rounded to microseconds, so that windows share their common times exactly.
    """
    return np.round(starts[:, None] + np.arange(sampling.num_frames) / sampling.fps, 6)
