"""Phases that are also scored by relaxed metrics, under names of their own."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError, shown
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation.kinds.classes import Phases
from surgrec.scores.relaxed import RELAXED_RULES
from surgrec.splits import some_of

RelaxedName = Literal["no", "plain", "cholec80", "m2cai16"]
"""Rules of relaxed metrics, by name."""

_PREFIXES = ("relaxed", "relaxed_published")
_PARTS = ("accuracy", "precision", "recall", "jaccard")


class RelaxedPhases(Phases):
    """Phases with relaxed metrics beside the others; verdicts stay unrelaxed.

    Args:
        rule: Name of the rule, which says the neighbors that count as right.
        order: The phases in their usual order.

    Raises:
        ConfigError: The order is empty or names a phase twice.
    """

    def __init__(self, rule: RelaxedName, order: Sequence[str]) -> None:
        if not order or len(set(order)) < len(order):
            raise ConfigError(
                f"the phase order is {shown(list(order))}; give each phase once, in the order of "
                "the procedure (--phase_order), as relaxed metrics accept neighbors"
            )

        self.relaxed = RELAXED_RULES[rule]
        self._number_of = {name: number for number, name in enumerate(order)}
        self.metrics = (
            *Phases.metrics,
            *(f"{prefix}_{part}" for prefix in _PREFIXES for part in _PARTS),
        )
        self.rules = (
            *Phases.rules,
            f"relaxed metrics: rule {rule}, {self.relaxed.seconds:g} s at both ends of a segment, "
            f"phase order {', '.join(order)}; relaxed published: as the widely copied code "
            "computes them",
        )

    def require(self, task: str, values: set[str]) -> None:
        """Refuse phases that the order lacks."""
        super().require(task, values)
        missing = values - self._number_of.keys()
        if missing:
            raise ConfigError(
                f"the phase order lacks {some_of(missing)}; name every phase of {task} in "
                "--phase_order"
            )

    def numbers(self, windows: LabeledWindows) -> Int64[np.ndarray, " classes"]:
        """Return the place of each class in the order."""
        self.require("the split", set(windows.classes))
        return np.array([self._number_of[name] for name in windows.classes], dtype=np.int64)
