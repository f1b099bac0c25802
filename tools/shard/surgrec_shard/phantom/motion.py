"""Motions as functions of time, without state.

The waveforms spend equal time at every height, whatever their rate or direction. Two phases that
trace a waveform faster, or backwards, therefore show the same stills in another order.
"""

import math

import numpy as np


def triangle(turns: float) -> float:
    """Rise and fall at one speed, in [0, 1]. One turn is one period."""
    return 1 - abs(1 - 2 * (turns % 1))


def ratchet(turns: float, rising: float = 0.8) -> float:
    """Rise slowly and fall quickly, in [0, 1]. `ratchet(-turns)` is the same motion backwards.

    Args:
        turns: Time in periods.
        rising: Share of a period that the rise takes.
    """
    turn = turns % 1
    return turn / rising if turn < rising else (1 - turn) / (1 - rising)


def eased(amount: float) -> float:
    """Map 0..1 to 0..1 with a soft start and stop. The amount is clipped to [0, 1]."""
    amount = min(max(amount, 0.0), 1.0)
    return amount * amount * (3 - 2 * amount)


class Sway:
    """The unrest of a hand that holds still: three slow sines with unrelated rates.

    Args:
        random: Draws rates and phases.
        size_px: Largest offset, pixels.
        rate_hz: Typical rate of the slowest sine.
    """

    def __init__(
        self, random: np.random.Generator, size_px: float, *, rate_hz: float = 0.25
    ) -> None:
        self._rates = rate_hz * random.uniform(0.6, 1.6, size=3) * (1, 1.9, 3.7)
        self._phases = random.uniform(0, 2 * math.pi, size=3)
        self._sizes = size_px * np.array([0.6, 0.3, 0.1])

    def at(self, time_s: float) -> float:
        """Return the offset at a time, at most `size_px` in either direction."""
        return float(np.dot(self._sizes, np.sin(2 * math.pi * self._rates * time_s + self._phases)))


class Rhythm:
    """Breath, pulse or peristalsis: a sine.

    Args:
        size_px: Largest offset, pixels.
        rate_hz: Periods per second.
    """

    def __init__(self, size_px: float, rate_hz: float) -> None:
        self._size_px = size_px
        self._rate_hz = rate_hz

    def at(self, time_s: float) -> float:
        """Return the offset at a time, at most `size_px` in either direction."""
        return self._size_px * math.sin(2 * math.pi * self._rate_hz * time_s)
