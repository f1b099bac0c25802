"""The mixture that a run declares: hierarchical shares, fixed before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from surgrec.errors import MixtureError
from surgrec.manifest import SPLITS


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a mixture: samples grouped by a column, with shares proportional to n^alpha."""

    by: str
    """Index column whose values are the groups: domain, source, procedure, case, or any other."""
    alpha: float
    """Temperature, 0 to 1: 1 natural shares, 0.5 square root, 0 equal shares."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise MixtureError(
                f"mixture: alpha of the level {self.by} is {self.alpha}; "
                "give 0 (equal shares) to 1 (shares by size)"
            )


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A later part of the run with other levels or weights.

    A field that is None keeps its earlier value.
    """

    start: int
    """Samples of the run before this stage; rounded up to a whole mixing block."""
    levels: list[Level] | None = None
    """Levels of the stage."""
    weights: dict[str, float] | None = None
    """Weights of the stage."""

    def __post_init__(self) -> None:
        if self.start < 1:
            raise MixtureError(
                f"mixture: a stage starts at sample {self.start}; give 1 or more, as the mixture's "
                "levels and weights apply before the first stage"
            )
        if self.levels is None and self.weights is None:
            raise MixtureError(
                f"mixture: the stage at sample {self.start} has neither levels nor weights; "
                "give one of them, or remove the stage"
            )
        _check_levels(self.levels or [])
        _check_weights(self.weights or {})


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The samples that a run draws, and their proportions.

    Example:
        >>> later = Stage(start=2_000_000, weights={"cholec80": 4.0})
        >>> Mixture(weights={"cholec80": 2.0}, stages=[later])
    """

    levels: list[Level] = field(
        default_factory=lambda: [Level(by="domain", alpha=0.0), Level(by="source", alpha=0.5)]
    )
    """Index columns that divide the samples, outermost first. The share of a value is proportional
    to its samples to the power `alpha`: 0 gives equal shares, 1 shares by size."""
    weights: dict[str, float] = field(default_factory=dict)
    """Factors on the shares of named sources; 0 leaves a source out."""
    stages: list[Stage] = field(default_factory=list)
    """Changes of levels and weights later in the run; `start` counts the samples before each."""
    splits: list[str] = field(default_factory=lambda: ["train"])
    """Stored splits to draw from."""
    min_duration_s: float = 0.0
    """Leave out clips shorter than this, seconds."""
    block: int = 1024
    """Samples in a mixing block. The shares are exact in every block."""
    shuffle_block: int = 256
    """Consecutive samples of an index that stay close to each other; 1 shuffles fully."""
    shuffle_window: int = 512
    """Number of shuffle blocks whose samples are shuffled together."""
    max_repeats: float | None = None
    """Largest mean number of draws per sample of a source. It never changes the order. None: no
    limit."""
    over_max_repeats: Literal["refuse", "warn"] = "refuse"
    """What happens to a run that exceeds `max_repeats`: it is refused, or starts with a warning."""

    def __post_init__(self) -> None:
        for name in ("block", "shuffle_block", "shuffle_window"):
            if getattr(self, name) < 1:
                raise MixtureError(f"mixture: {name} is {getattr(self, name)}; give at least 1")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise MixtureError(
                f"mixture: splits contains {', '.join(map(repr, self.splits)) or 'no split'}; give "
                f"one or several of {', '.join(SPLITS)}"
            )
        if self.max_repeats is not None and not self.max_repeats > 0:
            raise MixtureError(
                f"mixture: max_repeats is {self.max_repeats}; give a positive number"
            )

        _check_levels(self.levels)
        _check_weights(self.weights)

        starts = [stage.start_block for stage in resolved_stages(self)]
        if sorted(set(starts)) != starts:
            raise MixtureError(
                f"mixture: stages start at samples {', '.join(str(s.start) for s in self.stages)}; "
                f"list them in order, at least one mixing block of {self.block} samples apart"
            )


@dataclass(frozen=True, kw_only=True)
class ResolvedStage:
    """A stage with all its levels and weights, inherited ones included.

    Stage 0 is the beginning of the run.
    """

    start_block: int
    """First mixing block of the stage."""
    levels: Sequence[Level]
    weights: Mapping[str, float]


def resolved_stages(mixture: Mixture) -> list[ResolvedStage]:
    """Return the beginning of the run and its stages, each with all its levels and weights."""
    resolved = [ResolvedStage(start_block=0, levels=mixture.levels, weights=mixture.weights)]
    for stage in mixture.stages:
        before = resolved[-1]
        resolved.append(
            ResolvedStage(
                start_block=-(-stage.start // mixture.block),
                levels=before.levels if stage.levels is None else stage.levels,
                weights=before.weights if stage.weights is None else stage.weights,
            )
        )
    return resolved


def level_columns(mixture: Mixture) -> list[str]:
    """Return the level columns of all stages, without source and domain, sorted."""
    columns = {level.by for stage in resolved_stages(mixture) for level in stage.levels}
    return sorted(columns - {"source", "domain"})


def _check_levels(levels: Sequence[Level]) -> None:
    columns = [level.by for level in levels]
    if len(set(columns)) < len(columns):
        raise MixtureError(
            f"mixture: levels name a column twice ({', '.join(columns)}); "
            "give each column at most one level"
        )


def _check_weights(weights: Mapping[str, float]) -> None:
    for source, factor in weights.items():
        if not factor >= 0 or factor == float("inf"):
            raise MixtureError(
                f"mixture: the weight of {source} is {factor}; give a finite number of 0 or more"
            )
