"""The independent units of test cases, and test sets that are drawn from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.scores.intervals import SEED, resample


@dataclass(frozen=True, kw_only=True)
class Units:
    """Test sets that are drawn from the test cases, and the units that are drawn first."""

    weights: Float64[np.ndarray, "r cases"]
    """Multiplicity of each case in each test set. Row 0 is the original one."""
    of_case: Int64[np.ndarray, " cases"]
    """Unit of each case, as an index."""
    name: str
    """Plural of the units, such as `patients`."""
    levels: dict[str, list[int]] = field(default_factory=dict)
    """Group of each case at each level that groups cases, the outermost first."""

    @property
    def number(self) -> int:
        """Number of units."""
        return int(self.of_case.max()) + 1


def grouped_units(
    levels: Mapping[str, Sequence[str]], cases: Sequence[str], *, seed: int = SEED
) -> Units:
    """Return the units of cases. A level that groups no two cases is left out.

    Args:
        levels: Group of each case at each level, such as `centers` and `patients`, the outermost
            first.
        cases: Names of the cases, each once.
        seed: Seed of the draws.
    """
    groups = {name: level for name, level in levels.items() if 1 < len(set(level)) < len(cases)}
    indices = {name: np.unique(level, return_inverse=True)[1] for name, level in groups.items()}
    return Units(
        weights=resample(list(groups.values()), len(cases), seed=seed).weights,
        of_case=next(iter(indices.values()), np.unique(cases, return_inverse=True)[1]),
        name=next(iter(groups), "cases"),
        levels={name: level.tolist() for name, level in indices.items()},
    )


def units_of_folds(folds: Sequence[Units]) -> Units:
    """Return the units of the cases of all folds, one fold behind the other.

    Each fold keeps its number of units: test sets are drawn within the folds, independently.

    Args:
        folds: Units of each fold; their `weights` are drawn again.
    """
    drawn, of_case, first = [], [], 0
    for number, each in enumerate(folds):
        levels = {name: [str(group) for group in level] for name, level in each.levels.items()}
        cases = [str(case) for case in range(len(each.of_case))]
        drawn.append(grouped_units(levels, cases, seed=SEED + number).weights)
        of_case.append(each.of_case + first)
        first += each.number
    names = {each.name for each in folds}
    return Units(
        weights=np.concatenate(drawn, axis=1),
        of_case=np.concatenate(of_case),
        name=names.pop() if len(names) == 1 else "units",
    )
