"""One class at a time: of windows, and of phases over the seconds of videos."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation.kinds.kind import Inputs, KindProbe, Outcome, TaskKind, required
from surgrec.evaluation.probes import BASELINES, CLASS_PRIOR, PROBES, TEMPORAL_PROBES, Probe
from surgrec.scores import count_predictions, expected_counts
from surgrec.scores.classification import NO_CLASS
from surgrec.scores.frames import score_windows
from surgrec.scores.kinds import METRICS_OF, PRIMARY_OF, KindName
from surgrec.scores.paired import CaseTable
from surgrec.scores.relaxed import RelaxedRule

_LABEL_RULE = (
    "a window's label is the value at its last frame, and windows without one are left out"
)


def _pooled_rules(unit: str) -> tuple[str, ...]:
    return (
        f"macro F1 and balanced accuracy: pooled over test {unit}s, mean over the classes with a "
        f"test {unit}",
        f"accuracy: over test {unit}s; case accuracy: mean over test cases of the accuracy within "
        "a case",
    )


@dataclass(frozen=True)
class ClassProbe(KindProbe):
    """A probe of one class per window."""

    probe: Probe

    @property
    def name(self) -> str:  # type: ignore[override]
        """Name in files."""
        return self.probe.name

    @property
    def label(self) -> str:  # type: ignore[override]
        """Name in text."""
        return self.probe.label

    @property
    def issues(self) -> tuple[str, ...]:  # type: ignore[override]
        """Possible problems of a fit."""
        return self.probe.issues

    @property
    def seeds(self) -> tuple[int, ...]:  # type: ignore[override]
        """Seeds of its initial weights."""
        return self.probe.seeds

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Predict the class of each test window."""
        train, test, val = inputs
        found = self.probe.fit_predict(train, test, val=val, seed=seed)
        return Outcome(
            label=found.label,
            probability=found.probability,
            chosen=found.chosen,
            issues=found.issues,
        )

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol."""
        return self.probe.describe(chosen)


class Classes(TaskKind):
    """One class per window."""

    name: KindName = "classes"
    metrics: tuple[str, ...] = METRICS_OF["classes"]
    primary = PRIMARY_OF["classes"]
    rules: tuple[str, ...] = (_LABEL_RULE, *_pooled_rules("window"))
    video_rules: tuple[str, ...] = (
        "a video has one label; its prediction is the class of the greatest mean probability over "
        "its windows with a label, or their most frequent class if there are no probabilities; "
        "baselines are of videos",
        *_pooled_rules("video"),
    )
    baselines = BASELINES
    temporal_probes = tuple(ClassProbe(probe) for probe in TEMPORAL_PROBES)

    @property
    def probes(self) -> tuple[KindProbe, ...]:
        """All probes of one class per window."""
        return tuple(ClassProbe(probe) for probe in PROBES)

    def require(self, task: str, values: set[str]) -> None:
        """Refuse a task with a single class."""
        if len(values) < 2:
            raise ConfigError(
                f"all train labels of {task} are {min(values)!r}; evaluate a task with several "
                "values"
            )

    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return the windows per case and class."""
        return count_predictions(windows.truth, self.predicted(prediction))

    def predicted(self, prediction: Prediction) -> np.ndarray:
        """Return the predicted class of each window."""
        return required(prediction.label, prediction, "label")

    def baseline_rows(
        self, inputs: Inputs, windows: LabeledWindows
    ) -> tuple[list[Prediction], list[ScoredRow]]:
        """Return majority and elapsed time; the class prior has scores only."""
        train, test, _ = inputs
        found = {each.name: each.predict(train, test) for each in self.baselines if each.predict}
        predictions = [
            Prediction(
                features="none",
                classifier=name,
                label=each.label,
                probability=each.probability,
            )
            for name, each in found.items()
        ]

        # The prior has no prediction of a window: its counts are expected ones.
        table = expected_counts(windows.truth, windows.train_shares)
        prior = ScoredRow(
            features="none",
            classifier=CLASS_PRIOR.name,
            tables=[table],
            paired=[table],
            seeds=[(0, 0)],
            degenerate=False,
        )
        return predictions, [prior]

    def columns(self, prediction: Prediction, windows: LabeledWindows) -> dict[str, Any]:
        """Return names of classes."""
        predicted = self.predicted(prediction)
        return {
            "label": list(windows.test.values),
            "prediction": [
                "" if index == NO_CLASS else windows.classes[index] for index in predicted
            ],
        }


class Phases(Classes):
    """One class at each moment of a video: also scored per video, per phase and per segment."""

    name = "phases"
    video_rules = ()
    metrics: tuple[str, ...] = METRICS_OF["phases"]
    primary = PRIMARY_OF["phases"]
    rules: tuple[str, ...] = (
        _LABEL_RULE,
        "scored once per second from the first label of a video on, or once per window if windows "
        "are further apart; unrelaxed",
        *_pooled_rules("window"),
        "video accuracy, edit, and video macro precision, recall, Jaccard and F1: within a video, "
        "mean over videos; video macro F1 predicted: a phase that is predicted and absent scores "
        "0; phase precision, recall, Jaccard and F1: each phase's mean over its videos, then over "
        "phases; "
        "segmental F1 at 10, 25 and 50 % overlap: pooled over videos; macro F1 edit: mean of video "
        "macro F1 and edit",
    )
    relaxed: RelaxedRule | None = None
    """Rule of relaxed metrics; None: there are none."""

    def numbers(self, windows: LabeledWindows) -> Int64[np.ndarray, " classes"]:
        """Return the number by which each class is scored."""
        return np.arange(len(windows.classes))

    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return the scores of each video, at one frame per second."""
        test, predicted = windows.test, self.predicted(prediction)
        names = [f"{row.source}/{row.video}" for row in test.rows]
        videos, video = np.unique(names, return_inverse=True)

        numbers = self.numbers(windows)
        return score_windows(
            test.times_s,
            numbers[windows.labels_of(test)],
            np.where(predicted == NO_CLASS, NO_CLASS, numbers[predicted]),
            video=video.astype(np.int64),
            names=videos.tolist(),
            case=test.case_indices,
            num_phases=int(numbers.max()) + 1,
            stride_s=stride_s,
            relaxed=self.relaxed,
        )
