"""Restrict results to the windows that all of them have, paired by the time of their labels."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from surgrec.comparisons._kinds import REMEDY
from surgrec.comparisons._results import Result
from surgrec.errors import ConfigError

_LEAST_SHARE = 0.5
"""Share of the windows of each result that all others must have."""

_Key = tuple[str, str, str, float, float]
"""Source, case and video of a window, and its time in ms."""


def on_common_windows(results: Sequence[Result]) -> list[Result]:
    """Return results restricted to the windows that all of them have, in one order.

    The label of a window is that of its last frame. Windows of other lengths are paired if these
    frames have the same time of the video, to a millisecond. Without such times in a file, windows
    are paired by start and end.

    Args:
        results: Results on one task and split.

    Raises:
        ConfigError: Fewer than half of the windows of a result are common, labels differ, or a
            result has two windows at one time.
    """
    by_label = all(each.windows.has_label_times for each in results)
    rows = [_rows_by_key(each, by_label) for each in results]
    common = sorted(set(rows[0]).intersection(*rows[1:]))
    if any(len(common) < _LEAST_SHARE * len(each) for each in rows):
        other = min(range(len(rows)), key=lambda index: len(rows[0].keys() & rows[index].keys()))
        shared = len(rows[0].keys() & rows[other].keys())
        raise ConfigError(_too_few_common(results[0], results[other], shared))

    restricted = [
        _restricted(result, np.array([each[key] for key in common], dtype=np.int64))
        for result, each in zip(results, rows, strict=True)
    ]
    for result in restricted[1:]:
        _require_equal_labels(restricted[0], result)
    return restricted


def _rows_by_key(result: Result, by_label: bool) -> dict[_Key, int]:
    """Return the row of each window by its key."""
    windows = result.windows
    times = (windows.time_s, windows.time_s) if by_label else (windows.start_s, windows.end_s)
    # Rounding twice gives half milliseconds with errors of 1e-12 one value.
    first, second = (np.round(np.round(each, 6) * 1000).tolist() for each in times)
    keys = zip(windows.source, windows.case, windows.video, first, second, strict=True)
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) < len(windows.label):
        raise ConfigError(f"{result.folder} has two windows of one video at one time; {REMEDY}")
    return rows


def _restricted(result: Result, rows: np.ndarray) -> Result:
    windows = result.windows.take(rows)
    return replace(
        result,
        windows=windows,
        predictions=[each.take(rows) for each in result.predictions],
        left_out=dict(Counter(result.windows.case_names) - Counter(windows.case_names)),
    )


def _require_equal_labels(first: Result, second: Result) -> None:
    label = first.windows.label
    differs = (label != second.windows.label).reshape(len(label), -1).any(1)
    if differs.any():
        row = int(np.argmax(differs))
        windows = first.windows
        raise ConfigError(
            f"{first.folder} and {second.folder} cannot be paired: {windows.source[row]}/"
            f"{windows.video[row]} has other labels at {windows.time_s[row]:.3f} s; evaluate both "
            "on the same corpus"
        )


def _too_few_common(first: Result, second: Result, shared: int) -> str:
    """Return the refusal of two results, with the stride by which their windows coincide."""
    windows = first.windows, second.windows
    counts = [len(each.label) for each in windows]
    lags = [float(np.median(each.time_s - each.start_s)) for each in windows]
    stride = min(each.stride_s for each in windows)
    apart = abs(round(lags[0] - lags[1], 6))
    if apart:
        stride = apart / math.ceil(apart / stride - 1e-6)
    return (
        f"{first.folder} and {second.folder} cannot be paired: of {counts[0]} and {counts[1]} "
        f"windows only {shared} have labels at the same times, {lags[0]:g} and {lags[1]:g} s "
        f"after their start; evaluate both with --stride_s {stride:g}, by which these times "
        "coincide"
    )
