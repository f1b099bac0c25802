"""Heads on few train cases: all amounts and subsets train in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from surgrec.evaluation.tasks import (
    FewCases,
    LabeledWindows,
    Prediction,
    few_cases,
    few_shot_row,
    require_fewer,
    resampled_units,
)
from surgrec.supervised._choice import Choice
from surgrec.supervised._grid import HeadSetting
from surgrec.supervised._task import SupervisedTask

CHOICE = (
    "heads of all subsets train in one pass of as many steps as with all cases, with the setting "
    "that was chosen with all train cases; probes on pixels choose on folds of the subset"
)
"""How settings are chosen, for the protocol."""


def subset_weights(
    subsets: Sequence[Int64[np.ndarray, " _"]], num_windows: int
) -> Float32[Tensor, "heads n"]:
    """Return the weight of each window in the loss of the head of each subset.

    A head ignores the windows outside of its subset. The others weigh more, so that the mean is 1.

    Args:
        subsets: Positions of the windows of each subset.
        num_windows: Number of all train windows.
    """
    weights = torch.zeros(len(subsets), num_windows)
    for row, subset in enumerate(subsets):
        weights[row, torch.from_numpy(subset)] = num_windows / len(subset)
    return weights


@dataclass(frozen=True, kw_only=True)
class FewShot:
    """The subsets of train cases of a task, by their amount."""

    task: SupervisedTask
    amounts: list[FewCases]

    @classmethod
    def of(cls, task: SupervisedTask, amounts: Sequence[str]) -> "FewShot":
        """Choose the subsets, which are the same for every encoder.

        Raises:
            ConfigError: An amount is neither a number nor a share, or more than all train cases.
        """
        windows = task.planned
        found = few_cases(windows, task.audited.kind, amounts)
        require_fewer(amounts, windows.train.counts["cases"])
        return cls(task=task, amounts=found)

    def settings(self, choice: Choice) -> list[HeadSetting]:
        """Return the setting of the head of each subset, amount by amount."""
        return [
            HeadSetting(lr=choice.lr, weight_decay=choice.weight_decay, seed=subset, few=few.amount)
            for few in self.amounts
            for subset in range(len(few.subsets))
        ]

    @property
    def weights(self) -> Float32[Tensor, "heads n"]:
        """The weight of each train window in the loss of each head."""
        subsets = [subset for few in self.amounts for subset in few.subsets]
        return subset_weights(subsets, len(self.task.planned.train.rows))

    def readable(self, windows: LabeledWindows) -> list[FewCases]:
        """Return the subsets as positions among the train windows that could be read."""
        planned = self.task.planned.train.rows
        position = {row.key: index for index, row in enumerate(windows.train.rows)}
        return [
            replace(
                few,
                subsets=[
                    np.array([position[key] for key in keys if key in position], dtype=np.int64)
                    for keys in ([planned[row].key for row in subset] for subset in few.subsets)
                ],
            )
            for few in self.amounts
        ]

    def rows(
        self,
        windows: LabeledWindows,
        by_amount: Sequence[Sequence[Prediction]],
        classifier: str,
    ) -> list[dict[str, Any]]:
        """Return the rows `few_shot` of `evaluation.json`.

        Args:
            windows: The labeled windows that could be read.
            by_amount: Predictions of every classifier on the subsets of each amount.
            classifier: The classifier whose verdict counts.
        """
        audited = self.task.audited
        return [
            few_shot_row(
                few,
                predictions,
                windows,
                audited.kind,
                stride_s=audited.stride_s,
                units=resampled_units(audited.sources, windows.test),
                scope=audited.choice.scope,
                primary_classifier=classifier,
            )
            for few, predictions in zip(self.readable(windows), by_amount, strict=True)
        ]

    def of_amount(
        self, number: int, by_encoder: Sequence[Sequence[Prediction]]
    ) -> list[Prediction]:
        """Return the predictions of the heads of one amount, of all encoders.

        Args:
            number: Number of the amount.
            by_encoder: Predictions of each encoder's heads, in the order of `settings`.
        """
        counts = [len(few.subsets) for few in self.amounts]
        first = sum(counts[:number])
        return [each for encoder in by_encoder for each in encoder[first : first + counts[number]]]
