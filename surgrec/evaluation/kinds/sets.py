"""Several classes at a time, such as the tools in the picture, and action triplets."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from surgrec.errors import ConfigError, shown
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation._predictions import Prediction, ScoredRow
from surgrec.evaluation.kinds.classes import ClassProbe
from surgrec.evaluation.kinds.kind import Inputs, KindProbe, Outcome, TaskKind, required
from surgrec.evaluation.probes import (
    ELAPSED_TIME,
    LABEL_PRIOR,
    PROBES,
    Knn,
    LabeledFeatures,
)
from surgrec.evaluation.probes.knn import knn_means
from surgrec.evaluation.probes.standardize import standardized
from surgrec.scores.kinds import METRICS_OF, PRIMARY_OF, KindName
from surgrec.scores.multilabel import CasePrecision, LabelSets
from surgrec.scores.paired import CaseTable
from surgrec.scores.triplets import Triplet, score_triplets

_LABEL_RULE = (
    "the labels of a window are those at its last frame, maybe none; left out are videos without "
    "any label of the task, and, in sources that state where no class is present, windows without "
    "any label"
)


@dataclass(frozen=True)
class SetProbe(ClassProbe):
    """A probe of each class by itself: whether a window has it or not."""

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Predict the probability of each class for each test window."""
        columns, chosen = [], []
        issues: set[str] = set()
        for train, test, val in _one_against_rest(inputs, windows):
            if len(np.unique(train.label)) == 1:  # no window, or every window, has the class
                columns.append(np.full(len(test.time_s), float(train.label[0])))
                continue
            found = self.probe.fit_predict(train, test, val=val, seed=seed)
            columns.append(found.probability[:, 1])
            chosen.append(found.chosen)
            issues |= found.issues
        return Outcome(
            probability=np.stack(columns, axis=1),
            chosen=" ".join(chosen).strip(),
            issues=frozenset(issues),
        )

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol."""
        return f"one fit for each class, present or not, {self.probe.describe(chosen)}"


class KnnSets(KindProbe):
    """The shares of the classes among the nearest train windows, all classes in one pass."""

    name, label = "knn", "kNN"
    issues, seeds = (), (0,)
    _knn = Knn()

    def fit(self, inputs: Inputs, windows: LabeledWindows, seed: int) -> Outcome:
        """Predict the probability of each class for each test window."""
        train, test, _ = inputs
        fitted, queries = standardized(train.values, test.values)
        present = torch.from_numpy(windows.sets_of(windows.train)).to(fitted)
        shares = knn_means(
            fitted, present, queries, k=self._knn.k, temperature=self._knn.temperature
        )
        return Outcome(probability=np.asarray(shares.cpu().numpy()))

    def describe(self, chosen: Mapping[str, str]) -> str:
        """Return its part of the protocol."""
        return f"{self._knn.describe(chosen)}, share of the neighbors with the class"


class LabelKind(TaskKind):
    """Several classes at a time, ranked by their probability."""

    name: KindName = "labels"
    metrics: tuple[str, ...] = METRICS_OF["labels"]
    primary = PRIMARY_OF["labels"]
    rules: tuple[str, ...] = (
        _LABEL_RULE,
        "case mAP: average precision of each class within a case, its mean over the cases that "
        "have the class, then over classes; mAP: over all test windows, mean over classes",
    )
    video_rules: tuple[str, ...] = (
        "a video has the same labels throughout; the probability of a class is the mean over its "
        "windows; baselines are of videos",
        "case mAP: average precision of each class within a case, its mean over the cases that "
        "have the class, then over classes; mAP: over all test videos, mean over classes",
    )
    several = True
    baselines = (LABEL_PRIOR, ELAPSED_TIME)

    @property
    def probes(self) -> tuple[KindProbe, ...]:
        """Nearest neighbors, and all other probes with one fit per class."""
        others = (probe for probe in PROBES if probe.name != KnnSets.name)
        return (KnnSets(), *(SetProbe(probe) for probe in others))

    def require(self, task: str, values: set[str]) -> None:
        """Accept any labels: a class may also be absent."""

    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return labels and probabilities of the windows of each case."""
        return LabelSets(
            case=windows.test.case_indices,
            label=windows.sets_of(windows.test),
            score=self.predicted(prediction).astype(np.float64),
            num_cases=len(windows.test.case_names),
        )

    def paired_table(self, prediction: Prediction, table: CaseTable) -> CaseTable:
        """Return the average precision within each case, which is quick to exchange."""
        assert isinstance(table, LabelSets)
        return CasePrecision(by_case=table.case_precision)

    def predicted(self, prediction: Prediction) -> np.ndarray:
        """Return the probability of each class."""
        return required(prediction.probability, prediction, "probability")

    def baseline_rows(
        self, inputs: Inputs, windows: LabeledWindows
    ) -> tuple[list[Prediction], list[ScoredRow]]:
        """Return the shares of the classes among train windows, and the elapsed time."""
        shares = windows.sets_of(windows.train).mean(0)
        prior = np.tile(shares, (len(windows.test.rows), 1))
        assert ELAPSED_TIME.predict is not None
        times = [
            ELAPSED_TIME.predict(train, test).probability[:, 1]
            for train, test, _ in _one_against_rest(inputs, windows)
        ]
        scores = {LABEL_PRIOR.name: prior, ELAPSED_TIME.name: np.stack(times, axis=1)}
        return [
            Prediction(features="none", classifier=name, probability=score)
            for name, score in scores.items()
        ], []

    def columns(self, prediction: Prediction, windows: LabeledWindows) -> dict[str, Any]:
        """Return lists of classes: those present, and those of a probability of 0.5 or more."""
        predicted = self.predicted(prediction) >= 0.5
        found = {
            "label": [list(value) for value in windows.test.values],
            "prediction": [
                [windows.classes[index] for index in np.flatnonzero(row)] for row in predicted
            ],
        }
        # A column of empty lists has no type of its own.
        return {name: pa.array(lists, pa.list_(pa.string())) for name, lists in found.items()}


class TripletKind(LabelKind):
    """Action triplets: labels `instrument,verb,target`, several at a time."""

    name = "triplets"
    video_rules = ()
    metrics = METRICS_OF["triplets"]
    primary = PRIMARY_OF["triplets"]
    rules = (
        _LABEL_RULE,
        "average precision within a video, its mean over the videos that have the class, then over "
        "classes, as in ivtmetrics; a component (i, v, t, iv, it) has the greatest probability of "
        "its triplets; null triplets count, except in ap_ivt_ignore_null",
    )

    def require(self, task: str, values: set[str]) -> None:
        """Refuse labels that are not triplets."""
        for value in sorted(values):
            _triplet(value)

    def table(self, prediction: Prediction, windows: LabeledWindows, stride_s: float) -> CaseTable:
        """Return the average precisions of triplets and components within each video."""
        test = windows.test
        names = [f"{row.source}/{row.video}" for row in test.rows]
        _, first, video = np.unique(names, return_index=True, return_inverse=True)
        return score_triplets(
            windows.sets_of(test),
            self.predicted(prediction).astype(np.float64),
            video=video,
            case=test.case_indices[first],
            classes=[_triplet(name) for name in windows.classes],
        )

    def paired_table(self, prediction: Prediction, table: CaseTable) -> CaseTable:
        """Return the table itself: it holds numbers per video."""
        return table


def _one_against_rest(inputs: Inputs, windows: LabeledWindows) -> Iterator[Inputs]:
    """Yield the inputs of a probe for each class: whether a window has it."""
    train, test, val = inputs
    present = {name: windows.sets_of(part) for name, part in windows.by_name.items()}

    def of(part: LabeledFeatures, name: str, column: int) -> LabeledFeatures:
        return replace(part, label=present[name][:, column].astype(np.int64), num_classes=2)

    for column in range(len(windows.classes)):
        yield (
            of(train, "train", column),
            test,
            None if val is None else of(val, "val", column),
        )


def _triplet(value: str) -> Triplet:
    parts: Sequence[str] = [part.strip() for part in value.split(",")]
    if len(parts) != 3 or not all(parts):
        raise ConfigError(
            f"the label {shown(value)} is not a triplet; give 'instrument,verb,target', or "
            "evaluate with --task_kind labels"
        )
    return Triplet(*parts)
