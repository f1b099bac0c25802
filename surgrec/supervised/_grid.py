"""The grid of heads: one head per learning rate, weight decay and seed, and those of the folds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from surgrec.errors import ConfigError
from surgrec.ranges import Range, Seed, check_ranges

Rate: TypeAlias = Annotated[float, Range(0, 1000, above=True)]
Decay: TypeAlias = Annotated[float, Range(0, 100)]


def require_each_once(name: str, values: Sequence[float | int]) -> None:
    """Refuse a list of settings that is empty or has a value twice.

    Raises:
        ConfigError: Names the list.
    """
    if not values or len(set(values)) < len(values):
        raise ConfigError(f"{name} is {list(values)}; give one or several values, each once")


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Learning rates and weight decays to choose from. Defaults are V-JEPA 2's 20 heads.

    Source: arXiv:2506.09985 and the configs of facebookresearch/vjepa2.
    """

    lr: tuple[Rate, ...] = (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
    """Learning rates at the start of the schedule."""
    weight_decay: tuple[Decay, ...] = (0.01, 0.1, 0.4, 0.8)
    """Weight decays of matrices; biases and norms are not decayed."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Seeds of the heads' initial weights. Scores are means over them."""
    folds: Annotated[int, Range(2, 100)] = 3
    """Folds of train cases over which a setting is chosen, if the split has no val part."""

    def __post_init__(self) -> None:
        check_ranges(self)
        for name in ("lr", "weight_decay", "seeds"):
            require_each_once(f"grid.{name}", getattr(self, name))

    @property
    def settings(self) -> list[tuple[float, float]]:
        """Each learning rate with each weight decay."""
        return [(lr, weight_decay) for lr in self.lr for weight_decay in self.weight_decay]


@dataclass(frozen=True, kw_only=True)
class HeadSetting:
    """The settings of one head."""

    lr: float
    weight_decay: float
    seed: int
    fold: int | None = None
    """Fold of train cases that the head does not see; None for a head that sees all of them."""
    few: str = ""
    """Amount of train cases that the head sees; empty for one that sees all, or those of folds."""

    @property
    def name(self) -> str:
        """Name in messages and files."""
        part = "" if self.fold is None else f", fold {self.fold}"
        part = f", on {self.few} train cases" if self.few else part
        return f"lr {self.lr:g}, weight decay {self.weight_decay:g}, seed {self.seed}{part}"


def head_settings(grid: GridConfig, num_folds: int) -> list[HeadSetting]:
    """Return the settings of all heads that train together.

    Args:
        grid: The grid.
        num_folds: Folds of train cases for the choice; 0 if a val part decides. Heads of folds
            exist for the first seed only.
    """
    folds: Sequence[int] = range(num_folds)
    return [
        HeadSetting(lr=lr, weight_decay=weight_decay, seed=seed, fold=fold)
        for lr, weight_decay in grid.settings
        for seed, fold in (
            *((seed, None) for seed in grid.seeds),
            *((grid.seeds[0], fold) for fold in folds),
        )
    ]
