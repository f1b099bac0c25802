"""Evaluations as pages show them: scores, and the labels and predictions of each case over time."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.browse._answers import NotFoundError
from surgrec.browse._inside import check_inside
from surgrec.comparisons import Result, read_result
from surgrec.errors import ConfigError
from surgrec.json_files import read_json

_FILE = "evaluation.json"
_REMEDY = "run the evaluation again"
_PROBABLE = 0.5
"""Probability from which a class of several counts as predicted, as in `predictions.parquet`."""
_MOST_SEGMENTS = 2_000
"""Errors and points of one video that a page shows."""

Finder = Callable[[str, str, float], list[int] | None]
"""From a source, a video and a time to a corpus and its clip; None: no corpus shows it."""


class _Corpus(TypedDict):
    addresses: NotRequired[list[str]]


class _Record(TypedDict):
    """The content of `evaluation.json`, as far as a page shows it beside predictions."""

    corpus: _Corpus
    metrics: NotRequired[list[str]]
    primary_metric: NotRequired[str]
    scores: NotRequired[list[dict[str, Any]]]
    verdicts: NotRequired[list[dict[str, Any]]]


class BrowsedEvaluation:
    """The result folder of an evaluation, read when it is first shown.

    Args:
        address: The folder, as it was given or found.
        named: The folder that the command line names, which holds it.
    """

    def __init__(self, address: str, named: Path) -> None:
        self.address = address
        self._named = named

    @cached_property
    def result(self) -> Result:
        """The windows and predictions.

        Raises:
            ConfigError: A file is missing or damaged, or a link that leads out of the named folder.
        """
        folder = Path(self.address)
        check_inside(self._named, [folder / _FILE, folder / "predictions.parquet"])
        return read_result(folder)

    @cached_property
    def _texts(self) -> list[str]:
        return self.result.classes

    def overview(self) -> dict[str, Any]:
        """Return scores, classifiers and cases, for JSON.

        Raises:
            ConfigError: A file is missing or damaged.
        """
        path = Path(self.address) / _FILE
        check_inside(self._named, [path])
        record = read_json(path, _Record, error=ConfigError, remedy=_REMEDY)
        result = self.result

        # Share of right predictions of each case, for each prediction; numbers have none.
        cases, of_window = np.unique(result.windows.case_names, return_inverse=True)
        counts = np.bincount(of_window)
        right = [
            (np.bincount(of_window, weights=~self._differs(number)) / counts).tolist()
            if result.kind.has_classes
            else None
            for number in range(len(result.predictions))
        ]

        return {
            "address": self.address,
            "task": result.task,
            "kind": result.kind.name,
            "scope": result.scope,
            "split": result.split,
            "encoder": result.encoder_name,
            "protocol": result.protocol,
            "overrides": result.overrides,
            "classes": result.classes,
            "primary": self._primary(),
            "metrics": record.get("metrics", []),
            "primary_metric": record.get("primary_metric", ""),
            "scores": record.get("scores", []),
            "verdicts": record.get("verdicts", []),
            "names": {
                each.classifier: result.text_of(each.classifier) for each in result.predictions
            },
            "corpora": record["corpus"].get("addresses", []),
            "predictions": [
                {
                    "features": each.features,
                    "classifier": result.text_of(each.classifier),
                    "seed": each.seed,
                    "head_seed": each.head_seed,
                }
                for each in result.predictions
            ],
            "cases": [
                {"case": str(case), "windows": int(count)}
                for case, count in zip(cases, counts, strict=True)
            ],
            "right": right,
        }

    def case(self, case: str, prediction: int, find: Finder) -> dict[str, Any]:
        """Return the labels and predictions of a case over time, by video.

        Args:
            case: `source/case`.
            prediction: Number of the prediction, as in the overview.
            find: Finds the clip that shows a moment.

        Raises:
            NotFoundError: There is no such case or prediction.
            ConfigError: A file is missing or damaged.
        """
        windows = self.result.windows
        if not 0 <= prediction < len(self.result.predictions):
            raise NotFoundError(f"there is no prediction {prediction}")
        rows = np.flatnonzero(np.array(windows.case_names) == case)
        if not len(rows):
            raise NotFoundError(f"there is no case {case!r:.80}")
        videos = np.array(windows.video)[rows]
        source = windows.source[int(rows[0])]
        return {
            "case": case,
            "videos": [
                self._video(source, str(video), rows[videos == video], prediction, find)
                for video in dict.fromkeys(videos.tolist())
            ],
        }

    def _video(
        self,
        source: str,
        video: str,
        rows: Int64[np.ndarray, " n"],
        prediction: int,
        find: Finder,
    ) -> dict[str, Any]:
        times = self.result.windows.time_s[rows]
        stride_s = self.result.windows.stride_s
        shown: dict[str, Any] = {"video": video, "end_s": float(times.max()) + stride_s}
        if not self.result.kind.has_classes:
            step = -(-len(rows) // _MOST_SEGMENTS)
            label, predicted = (
                each[rows][::step].tolist()
                for each in (
                    self.result.windows.label,
                    self.result.predictions[prediction].value,
                )
            )
            return shown | {"times": times[::step].tolist(), "label": label, "number": predicted}

        label, predicted = self._label_texts(rows), self._predicted_texts(rows, prediction)
        wrong = self._differs(prediction)[rows]
        pairs = [
            f"{a}\n{b}" if bad else "" for a, b, bad in zip(label, predicted, wrong, strict=True)
        ]
        errors = [each for each in _segments(times, pairs, stride_s) if each["value"]]
        for each in errors:
            each["label"], _, each["predicted"] = each.pop("value").partition("\n")
            each["clip"] = find(source, video, each["time_s"])
        return shown | {
            "label": _segments(times, label, stride_s)[:_MOST_SEGMENTS],
            "predicted": _segments(times, predicted, stride_s)[:_MOST_SEGMENTS],
            "errors": errors[:_MOST_SEGMENTS],
        }

    def _primary(self) -> int:
        """Return the prediction of trained features by the classifier whose verdict counts."""
        ranked = [
            (each.features != "trained", each.classifier != self.result.primary, number)
            for number, each in enumerate(self.result.predictions)
        ]
        return min(ranked)[2]

    def _differs(self, prediction: int) -> Bool[np.ndarray, " n"]:
        """Return which windows have a wrong prediction; of several classes, any wrong one."""
        label, value = self.result.windows.label, self.result.predictions[prediction].value
        if label.ndim == 1:
            return np.asarray(label != value)
        return np.asarray((label != (value >= _PROBABLE)).any(axis=1))

    def _label_texts(self, rows: Int64[np.ndarray, " n"]) -> list[str]:
        return self._as_texts(self.result.windows.label[rows])

    def _predicted_texts(self, rows: Int64[np.ndarray, " n"], prediction: int) -> list[str]:
        value = self.result.predictions[prediction].value[rows]
        return self._as_texts(value if value.ndim == 1 else value >= _PROBABLE)

    def _as_texts(self, values: np.ndarray) -> list[str]:
        if values.ndim == 1:
            return [self._texts[code] if code >= 0 else "(no class)" for code in values.tolist()]
        return [
            " + ".join(self._texts[code] for code in np.flatnonzero(row)) or "(none)"
            for row in values
        ]


def _segments(
    times: Float64[np.ndarray, " n"], values: list[str], stride_s: float
) -> list[dict[str, Any]]:
    """Return spans of windows with one value; a window stands for the stride around its label."""
    found: list[dict[str, Any]] = []
    for time, value in zip(times.tolist(), values, strict=True):
        start_s, end_s = max(0.0, time - stride_s / 2), time + stride_s / 2
        before = found[-1] if found else None
        if before and before["value"] == value and start_s - before["end_s"] < stride_s / 2:
            before["end_s"] = end_s
        else:
            found.append({"start_s": start_s, "end_s": end_s, "time_s": time, "value": value})
    return found
