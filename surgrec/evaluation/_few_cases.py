"""Few train cases: an amount of them, in several random subsets."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError, shown
from surgrec.evaluation._labeled_windows import LabeledWindows
from surgrec.evaluation.kinds import TaskKind
from surgrec.text import counted

AMOUNTS = ("1", "3", "5", "10%", "50%")
"""Numbers of train cases, and shares of them."""
SUBSETS = 3
"""Random subsets of the train cases, whose scores are averaged."""


@dataclass(frozen=True, kw_only=True)
class FewCases:
    """Some of the train cases, in several random subsets."""

    amount: str
    """As it was asked for: "3", or "10%"."""
    cases: int
    """Number of cases of a subset."""
    subsets: list[Int64[np.ndarray, " _"]]
    """Positions of the windows of each subset among the train windows."""


def few_cases(windows: LabeledWindows, kind: TaskKind, amounts: Sequence[str]) -> list[FewCases]:
    """Return the subsets of train cases for each amount, the smallest first.

    An amount of all train cases, or of as many as an earlier one, is left out.

    Args:
        windows: The labeled windows.
        kind: Kind of the task.
        amounts: Numbers of train cases such as "3", or shares of them such as "10%".

    Raises:
        ConfigError: An amount is neither a number nor a share.
    """
    case = windows.train.case_indices
    classes = _classes_of_cases(windows, kind)
    orders = [case_order(classes, seed) for seed in range(SUBSETS)]
    wanted = {number_of_cases(amount, len(orders[0])): amount for amount in reversed(amounts)}
    return [
        FewCases(
            amount=amount,
            cases=number,
            subsets=[np.flatnonzero(np.isin(case, order[:number])) for order in orders],
        )
        for number, amount in sorted(wanted.items())
        if number < len(orders[0])
    ]


def case_order(classes: Sequence[Collection[int]], seed: int) -> list[int]:
    """Return all cases in a random order, in which the first few have all classes if possible.

    The next case is the one that adds most classes to the earlier ones; of equals, the first one of
    a random order. So a subset of more cases contains that of fewer cases.

    Args:
        classes: Classes of the train windows of each case; empty if labels are numbers.
        seed: Seed of the random order.
    """
    left = np.random.default_rng(seed).permutation(len(classes)).tolist()

    order: list[int] = []
    missing = set[int]().union(*classes)
    while left:
        added = max(left, key=lambda each: len(missing.intersection(classes[each])))
        missing.difference_update(classes[added])
        left.remove(added)
        order.append(added)
    return order


def _classes_of_cases(windows: LabeledWindows, kind: TaskKind) -> list[set[int]]:
    """Return the classes of each train case; nothing for numbers."""
    classes: list[set[int]] = [set() for _ in windows.train.case_names]
    if kind.has_classes:
        present = windows.sets_of(windows.train)
        for case, row in zip(windows.train.case_indices.tolist(), present, strict=True):
            classes[case].update(np.flatnonzero(row).tolist())
    return classes


def number_of_cases(amount: str, num_cases: int) -> int:
    """Return the number of cases that an amount stands for: at least one, at most all.

    Raises:
        ConfigError: The amount is neither a number nor a share, or a share of more than all.
    """
    text = amount.removesuffix("%")
    if not text.isascii() or not text.isdigit() or not 0 < len(text) <= 9 or int(text) < 1:
        raise ConfigError(
            f"few_shot contains {shown(amount)}; give a number of cases such as '3', or a share "
            "such as '10%'"
        )
    if text == amount:
        return min(int(text), num_cases)
    if int(text) > 100:
        raise ConfigError(
            f"few_shot contains {shown(amount)}, which is more than all train cases; give a share "
            "of at most 100%"
        )
    return max(1, round(int(text) * num_cases / 100))


def require_fewer(amounts: Sequence[str], num_cases: int) -> None:
    """Refuse numbers of cases that the train part does not have.

    Those of `AMOUNTS` alone are accepted: the ones that the train part has are used.

    Args:
        amounts: As for `few_shot`.
        num_cases: Train cases with a labeled window.

    Raises:
        ConfigError: Names the amount and the number of train cases.
    """
    if tuple(amounts) == AMOUNTS:
        return
    for amount in amounts:
        if not amount.endswith("%") and int(amount) > num_cases:
            raise ConfigError(
                f"few_shot contains {shown(amount)}, but the train part has "
                f"{counted(num_cases, 'case')} with labels; give smaller numbers, or shares such "
                "as '50%'"
            )
