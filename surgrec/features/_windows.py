"""The windows of a video, and the times of their frames. Pure: times in, times out."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from surgrec.clips import ClipSampling
from surgrec.errors import ConfigError, SampleError
from surgrec.stream.stretches import HAIR_S

TimeSpan = tuple[float, float]
"""Start and end of a part of a video without a gap, in seconds of the video."""

MOST_WINDOWS = 2_000_000
"""Most windows of a video; their features alone take gigabytes."""

_LEAST_STRIDE_S = 1e-3

_BLOCK_WINDOWS = 65_536


def require_stride(stride_s: float) -> None:
    """Refuse a stride that gives no windows, or more than any video has frames.

    Raises:
        ConfigError: It is below a millisecond, infinite or NaN.
    """
    if not _LEAST_STRIDE_S <= stride_s < math.inf:
        raise ConfigError(
            f"stride_s is {stride_s:g}; give a number of seconds from {_LEAST_STRIDE_S:g}"
        )


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

    Raises:
        SampleError: The video has more than `MOST_WINDOWS` windows.
    """
    if sum(end_s - start_s for start_s, end_s in spans) > MOST_WINDOWS * stride_s:
        length_s = spans[-1][1] - spans[0][0]
        raise SampleError(
            f"the video lasts {length_s:g} s and would have more than {MOST_WINDOWS} windows; "
            "give a larger --stride_s"
        )

    numbers = [np.arange(*_numbers(span, span_s, stride_s)) for span in spans]
    return np.concatenate([np.zeros(0), *numbers]) * stride_s


def windows_in_gaps(
    spans: Sequence[TimeSpan], span_s: float, stride_s: float
) -> Iterator[tuple[TimeSpan, int]]:
    """Yield the gaps of a video that cost windows, and how many: those that touch it.

    A window that touches several gaps counts for the first. A video begins at 0.

    Args:
        spans: Parts of the video without a gap, ascending.
        span_s: Seconds of a window.
        stride_s: Seconds from one start to the next.
    """
    if not spans:
        return
    _, end = _numbers((0.0, spans[-1][1]), span_s, stride_s)
    for span, following in itertools.pairwise(((0.0, 0.0), *spans)):
        first = max(_numbers(span, span_s, stride_s))
        count = min(_numbers(following, span_s, stride_s)[0], end) - first
        if count > 0:
            yield (span[1], following[0]), count


def _numbers(span: TimeSpan, span_s: float, stride_s: float) -> tuple[int, int]:
    """Return the number of the first window in a span, and of the first one behind it."""
    start_s, end_s = span
    return (
        math.ceil((start_s - HAIR_S) / stride_s),
        math.floor((end_s - span_s + HAIR_S) / stride_s) + 1,
    )


def all_times(
    starts: Float64[np.ndarray, " n"], sampling: ClipSampling
) -> Float64[np.ndarray, " m"]:
    """Return the times of the frames of all windows, each once, ascending."""
    found = np.zeros(0)
    for first in range(0, len(starts), _BLOCK_WINDOWS):
        block = window_times(starts[first : first + _BLOCK_WINDOWS], sampling)
        # Only the end of the earlier blocks overlaps.
        overlap = int(np.searchsorted(found, block[0, 0]))
        found = np.concatenate([found[:overlap], np.union1d(found[overlap:], block)])
    return found


def window_times(
    starts: Float64[np.ndarray, " n"], sampling: ClipSampling
) -> Float64[np.ndarray, "n t"]:
    """Return the times of the frames of each window.

    They are rounded to microseconds, so that windows share their common times exactly.
    """
    return np.round(starts[:, None] + np.arange(sampling.num_frames) / sampling.fps, 6)
