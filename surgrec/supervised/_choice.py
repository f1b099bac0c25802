"""The choice of a setting on held-out cases of val, or of folds of the train cases."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from surgrec.errors import TrainingError
from surgrec.supervised._grid import HeadSetting


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen setting."""

    lr: float
    weight_decay: float
    score: float
    """Mean score of its heads on the held-out cases."""
    at_edge: bool
    """Whether its learning rate is the smallest or the largest of three or more."""

    def includes(self, setting: HeadSetting) -> bool:
        """Whether a head was trained on all train cases with the chosen setting."""
        chosen = (self.lr, self.weight_decay, None)
        return (setting.lr, setting.weight_decay, setting.fold) == chosen

    @property
    def text(self) -> str:
        """The setting in words."""
        return f"lr {self.lr:g}, weight decay {self.weight_decay:g}"


def choose_setting(settings: Sequence[HeadSetting], scores: Sequence[float | None]) -> Choice:
    """Return the learning rate and weight decay with the best mean score.

    Test cases have no part in it: the scores are those of other cases. Of equally good settings it
    is the first of the grid.

    Args:
        settings: The settings of all heads.
        scores: Score of each head on cases that it did not see, higher is better; None for a head
            that does not take part in the choice, NaN for one without a score.

    Raises:
        TrainingError: No setting has a score.
    """
    by_setting: dict[tuple[float, float], list[float]] = defaultdict(list)
    for setting, score in zip(settings, scores, strict=True):
        if score is not None:
            by_setting[setting.lr, setting.weight_decay].append(score)

    means = {key: sum(values) / len(values) for key, values in by_setting.items()}
    finite = {key: mean for key, mean in means.items() if math.isfinite(mean)}
    if not finite:
        raise TrainingError(
            "no head of the grid has a score on held-out cases, as all outputs are NaN or the "
            "cases have one label; give smaller learning rates, or other val cases"
        )
    lr, weight_decay = max(finite, key=lambda key: finite[key])
    rates = sorted({setting.lr for setting in settings})
    return Choice(
        lr=lr,
        weight_decay=weight_decay,
        score=finite[lr, weight_decay],
        at_edge=len(rates) > 2 and lr in (rates[0], rates[-1]),
    )
