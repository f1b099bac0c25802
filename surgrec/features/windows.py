"""Which windows of a video are looked at, and at which moments. Pure: times in, times out."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from surgrec.clips import ClipSampling

TimeSpan = tuple[float, float]
"""Start and end of a part of a video that can be shown without a gap, seconds of the video's own time."""

HAIR_S = 1e-3
"""How exactly times are taken, seconds: containers round them, Matroska to milliseconds."""


def joined(spans: Sequence[TimeSpan], gap_s: float) -> tuple[TimeSpan, ...]:
    """The stretches that spans form together, where what is missing between two is at most `gap_s`."""
    stretches: list[TimeSpan] = []
    for start_s, end_s in sorted(spans):
        if stretches and start_s <= stretches[-1][1] + gap_s + HAIR_S:
            stretches[-1] = stretches[-1][0], max(end_s, stretches[-1][1])
        else:
            stretches.append((start_s, end_s))
    return tuple(stretches)


def window_starts(
    stretches: Sequence[TimeSpan], span_s: float, stride_s: float
) -> Float64[np.ndarray, " n"]:
    """Every multiple of `stride_s` from which on a stretch covers `span_s`, ascending."""
    numbers = [
        number
        for start_s, end_s in stretches
        for number in range(
            math.ceil((start_s - HAIR_S) / stride_s),
            math.floor((end_s - span_s + HAIR_S) / stride_s) + 1,
        )
    ]
    return np.asarray(numbers, dtype=np.float64) * stride_s


def window_times(
    starts: Float64[np.ndarray, " n"], sampling: ClipSampling
) -> Float64[np.ndarray, "n t"]:
    """The moments of the frames of each window, whole microseconds, so that windows share those they have in common."""
    return np.round(starts[:, None] + np.arange(sampling.num_frames) / sampling.fps, 6)
