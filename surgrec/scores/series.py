"""Labels over the seconds of a video, and their values at a stated rate."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import ConfigError

TIME_STEP_S = 1e-6
"""Times closer than this are the same time: 1/30 s has no exact float."""


@dataclass(frozen=True, kw_only=True)
class Series:
    """One value per labeled moment of a video. A value holds until the next one."""

    times_s: Float64[np.ndarray, " n"]
    """Seconds of the video, ascending. Not frame numbers: labels have rates of their own."""
    values: Int64[np.ndarray, " n"]

    def __post_init__(self) -> None:
        """Refuse times that are not those of a video.

        Raises:
            ConfigError: Times are not finite, negative or not ascending, or too few or many.
        """
        if len(self.times_s) != len(self.values):
            raise ConfigError(
                f"a series has {len(self.times_s)} times and {len(self.values)} values; give one "
                "time per value"
            )
        steps = np.diff(self.times_s)
        if not np.isfinite(self.times_s).all() or (self.times_s < 0).any() or (steps <= 0).any():
            raise ConfigError(
                "the times of a series are not ascending seconds from 0 on; sort the values by "
                "time and give each time once"
            )

    def at(self, times_s: Float64[np.ndarray, " m"], *, hold_s: float) -> "Series":
        """Return the values at other times; times without a value are left out.

        Args:
            times_s: Ascending seconds of the video.
            hold_s: Seconds for which a value holds: the period of its rate.
        """
        if not len(self.times_s):
            return Series(times_s=times_s[:0], values=self.values[:0])
        last = np.searchsorted(self.times_s, times_s + TIME_STEP_S, side="right") - 1
        age_s = times_s - self.times_s[np.maximum(last, 0)]
        known = (last >= 0) & (age_s < hold_s - TIME_STEP_S)
        return Series(times_s=times_s[known], values=self.values[last[known]])


def sample(series: Series, *, label_fps: float, rate_fps: float) -> Series:
    """Return the values at 0, 1, 2, ... times `1 / rate_fps` seconds.

    Labels of 25 fps that are scored at 1 fps give one value per second, and so do labels of 1 fps.

    Args:
        series: Labels of a video.
        label_fps: Rate at which they were written.
        rate_fps: Rate to score at.

    Raises:
        ConfigError: The rates are not positive, or the times do not have the stated rate.
    """
    if not (label_fps > 0 and rate_fps > 0):
        raise ConfigError(
            f"labels of {label_fps:g} fps cannot be scored at {rate_fps:g} fps; give rates above 0"
        )

    if len(series.times_s) > 1:
        found_s = float(np.median(np.diff(series.times_s)))
        if not 0.5 < found_s * label_fps < 2:
            raise ConfigError(
                f"labels are {found_s:g} s apart, which is {1 / found_s:g} fps and not the stated "
                f"{label_fps:g} fps; give times in seconds, and the rate of the labels"
            )

    if not len(series.times_s):
        return series
    count = int(np.floor(series.times_s[-1] * rate_fps + 1e-6)) + 1
    return series.at(np.arange(count) / rate_fps, hold_s=max(1 / label_fps, TIME_STEP_S * 3))


def align(truth: Series, predicted: Series, *, prediction_fps: float) -> Series:
    """Return the prediction at every time of the truth.

    Args:
        truth: Labels at the times to score.
        predicted: Predictions of the video.
        prediction_fps: Rate of the predictions; one holds for one period.

    Raises:
        ConfigError: A time to score has no prediction.
    """
    found = predicted.at(truth.times_s, hold_s=1 / prediction_fps)
    if len(found.times_s) < len(truth.times_s):
        missing = np.setdiff1d(truth.times_s, found.times_s)
        raise ConfigError(
            f"{len(missing)} of {len(truth.times_s)} labeled times have no prediction, the first "
            f"at {missing[0]:g} s; predict every labeled time"
        )
    return found
