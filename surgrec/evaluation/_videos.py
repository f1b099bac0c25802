"""Results per video: the mean over its windows, for labels that hold for whole videos."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import ConfigError, shown
from surgrec.evaluation._labeled_windows import LabeledWindows, PartWindows
from surgrec.evaluation._predictions import Prediction
from surgrec.evaluation.kinds import ScopeName
from surgrec.scores.classification import NO_CLASS


def scored_units(
    windows: LabeledWindows, scope: ScopeName
) -> tuple[LabeledWindows, Callable[[Prediction], Prediction]]:
    """Return what is scored, windows or videos, and the function that gives its predictions.

    Args:
        windows: The labeled windows.
        scope: Whether a label holds for a moment, or for a whole video.

    Raises:
        ConfigError: The windows of a video have two labels.
    """
    if scope == "moment":
        return windows, lambda prediction: prediction
    return video_labels(windows), lambda prediction: video_prediction(prediction, windows.test)


def video_labels(windows: LabeledWindows) -> LabeledWindows:
    """Return parts with one row for each video that has a labeled window, sorted by name.

    A row begins at 0 s and ends with the last window of the video. Counts of other windows stay.

    Raises:
        ConfigError: The windows of a video have two labels.
    """
    parts = {name: _of_videos(part) for name, part in windows.by_name.items()}
    return replace(windows, train=parts["train"], test=parts["test"], val=parts.get("val"))


def video_prediction(prediction: Prediction, test: PartWindows) -> Prediction:
    """Return the prediction of each video: the mean over its windows, in the order of names.

    Probabilities and numbers are averaged, and the class is that of the greatest mean probability.
    Without probabilities, it is the most frequent class of the windows; of equals, the first one.
    A video without any is of no class.

    Args:
        prediction: A prediction of each test window.
        test: The test windows.
    """
    _, video = _numbered(test)
    if prediction.number is not None:
        return replace(prediction, number=_means(prediction.number[:, None], video)[:, 0])
    if prediction.probability is not None:
        shares = _means(np.asarray(prediction.probability, dtype=np.float64), video)
        label = None if prediction.label is None else shares.argmax(1)
        return replace(prediction, probability=shares, label=label)
    assert prediction.label is not None  # `TaskKind.require_fit` checked it
    classes = np.arange(max(int(prediction.label.max()), 0) + 1)
    votes = _means((prediction.label[:, None] == classes).astype(np.float64), video)
    return replace(prediction, label=np.where(votes.any(1), votes.argmax(1), NO_CLASS))


def _of_videos(part: PartWindows) -> PartWindows:
    first, video = _numbered(part)
    ends_s = np.zeros(len(first))
    np.maximum.at(ends_s, video, [row.end_s for row in part.rows])

    # All windows of a video must have the label of its first one.
    for row, value, index in zip(part.rows, part.values, video.tolist(), strict=True):
        if value != part.values[first[index]]:
            raise ConfigError(
                f"{row.source}/{row.video} has the labels {shown(part.values[first[index]])} and "
                f"{shown(value)}, so its label does not hold for all of it; evaluate with "
                "--task_scope moment"
            )

    rows = [
        replace(part.rows[index], start_s=0.0, end_s=float(end_s))
        for index, end_s in zip(first.tolist(), ends_s, strict=True)
    ]
    return replace(part.at(first), rows=rows, times_s=np.zeros(len(first)))


def _numbered(part: PartWindows) -> tuple[Int64[np.ndarray, " v"], Int64[np.ndarray, " n"]]:
    """Return the first window of each video, and the video of each window, by sorted names."""
    names: Sequence[str] = [f"{row.source}/{row.video}" for row in part.rows]
    _, first, video = np.unique(names, return_index=True, return_inverse=True)
    return first.astype(np.int64), video.astype(np.int64)


def _means(
    values: Float64[np.ndarray, "n k"], video: Int64[np.ndarray, " n"]
) -> Float64[np.ndarray, "v k"]:
    """Return the mean of the rows of each video."""
    totals = np.zeros((int(video.max()) + 1, values.shape[1]))
    np.add.at(totals, video, values)
    return np.asarray(totals / np.bincount(video)[:, None])
