"""Rates of pictures, from the times at which they appear. Pure functions."""

from fractions import Fraction

import numpy as np
from jaxtyping import Float64

from surgrec.recordings._packets import PAUSE_S

_HIGHEST_RATE = 1000.0
"""Pictures per second. Clocks that run faster are believed no more."""
_RATE_S = 1.0
"""Seconds over which a rate must hold. Pictures that come faster for a moment are a burst."""
_LOW, _HIGH, _SAME_LAG_S = 0.92, 1.02, 0.05
"""A stated rate is near the measured one, which jitter raises, and delays pictures as little."""
_LONGEST_LAG_S = 0.9
"""Longest delay of a picture that waits until those before it have been shown."""
_ROUNDED_S = 2e-3


def highest_rate(
    times_s: Float64[np.ndarray, " n"], average_rate: Fraction, nominal_rate: Fraction
) -> Fraction:
    """Return the highest rate that holds for a second, as a stated rate if one is as good.

    Frames at the rate keep every picture: one that waits until those before it have been shown is
    less than a second late.

    Args:
        times_s: When each picture appears, ascending. Pictures may share a time.
        average_rate: The container's average rate, 1/s.
        nominal_rate: The rate that the container or the codec states, 1/s.
    """
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:
        return min(average_rate, Fraction(_HIGHEST_RATE))
    last = len(times_s) - 1
    ends = np.minimum(np.searchsorted(times_s, times_s + _RATE_S - _ROUNDED_S), last)
    # A second that begins near the end is complete without pictures, unless nothing is longer.
    shortest_s = min(float(times_s[-1] - times_s[0]), _RATE_S - _ROUNDED_S)
    spans_s = np.maximum(times_s[ends] - times_s, shortest_s)
    rates = (ends - np.arange(last + 1)) / spans_s
    # A frame of a lower rate would show its picture over a gap.
    highest = min(max(float(rates.max()), 1 / PAUSE_S), _HIGHEST_RATE)
    # A burst before a pause needs more.
    while highest < _HIGHEST_RATE and _lag_s(times_s, highest) > _LONGEST_LAG_S:
        highest = min(1.1 * highest, _HIGHEST_RATE)

    longest_lag_s = _lag_s(times_s, highest) + _SAME_LAG_S
    for stated in (average_rate, nominal_rate):
        is_close = _LOW * highest < stated < _HIGH * highest
        if is_close and stated <= _HIGHEST_RATE and _lag_s(times_s, float(stated)) <= longest_lag_s:
            return stated
    return Fraction(highest).limit_denominator(1001)


def _lag_s(times_s: Float64[np.ndarray, " n"], rate: float) -> float:
    """Return the longest delay of a picture if each one is a frame of its own, seconds."""
    numbers = np.arange(len(times_s))
    frames = np.floor(times_s * rate + 0.5)
    frames = np.maximum.accumulate(frames - numbers) + numbers
    return float((frames / rate - times_s).max())
