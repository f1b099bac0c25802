"""The windows on which a probe chooses its settings: those of val, or folds of train cases."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64
from sklearn.model_selection import GroupKFold

from surgrec.evaluation.probes.probe import LabeledFeatures
from surgrec.scores import PRIMARY, GroundTruth, count_predictions

Rows = Int64[np.ndarray, " _"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Windows, and which of them are fitted and held out to compare settings."""

    windows: LabeledFeatures
    """The train windows, then those of val."""
    folds: list[tuple[Rows, Rows]]
    """Rows that are fitted, and rows that are predicted. No case is in both."""

    @property
    def held_out(self) -> Rows:
        """Rows that any fold predicts."""
        return np.sort(np.concatenate([held_out for _, held_out in self.folds]))

    def score(self, predicted: Int64[np.ndarray, " n"]) -> float:
        """Return the primary score of the held-out rows.

        Args:
            predicted: Class of each window; those of rows that are never held out do not matter.
        """
        rows = self.held_out
        names, cases = np.unique(self.windows.case[rows], return_inverse=True)
        truth = GroundTruth(
            case=cases,
            label=self.windows.label[rows],
            num_cases=len(names),
            num_classes=self.windows.num_classes,
        )
        counts = count_predictions(truth, predicted[rows])
        return float(counts.scores(np.ones((1, len(names))))[PRIMARY][0])


def choice_of(train: LabeledFeatures, val: LabeledFeatures | None, num_folds: int) -> Choice | None:
    """Return the windows for a choice of settings; None if a single train case leaves none.

    Args:
        train: The train windows.
        val: Windows of other cases to choose on. None: folds of train cases.
        num_folds: Folds of train cases; fewer if there are fewer cases.
    """
    if val is not None:
        return Choice(
            windows=_joined(train, val),
            folds=[(np.arange(len(train.label)), len(train.label) + np.arange(len(val.label)))],
        )

    num_folds = min(num_folds, len(np.unique(train.case)))
    if num_folds < 2:
        return None
    splits = GroupKFold(n_splits=num_folds).split(train.label, groups=train.case)
    return Choice(windows=train, folds=[(fitted, held_out) for fitted, held_out in splits])


def _joined(train: LabeledFeatures, val: LabeledFeatures) -> LabeledFeatures:
    """Return the windows of both parts; cases and videos of val come after those of train."""
    return dataclasses.replace(
        train,
        values=torch.cat([train.values, val.values]),
        label=np.concatenate([train.label, val.label]),
        case=np.concatenate([train.case, val.case + train.case.max() + 1]),
        video=np.concatenate([train.video, val.video + train.video.max() + 1]),
        time_s=np.concatenate([train.time_s, val.time_s]),
    )
