"""The mixture that a run declares: hierarchical shares, fixed before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from surgrec.errors import MixtureError
from surgrec.manifest import SPLITS
from surgrec.ranges import Range, check_ranges
from surgrec.stream.cluster_policy import ClusterPolicy

Weight: TypeAlias = Annotated[float, Range(0, 10**9)]
Limit: TypeAlias = Annotated[float, Range(-(10**18), 10**18)]


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of a mixture: samples grouped by a column, with shares proportional to n^alpha."""

    by: str
    """Index column whose values are the groups: domain, source, procedure, case, or any other."""
    alpha: Annotated[float, Range(0, 1)]
    """Temperature, 0 to 1: 1 natural shares, 0.5 square root, 0 equal shares."""

    def __post_init__(self) -> None:
        check_ranges(self, context=f"mixture: level {self.by}: ", error=MixtureError)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A later part of the run with other levels or weights.

    A field that is None keeps its earlier value.
    """

    start: Annotated[int, Range(1, 10**16)]
    """Samples of the run before this stage; rounded up to a whole mixing block."""
    levels: list[Level] | None = None
    """Levels of the stage."""
    weights: dict[str, Weight] | None = None
    """Weights of the stage."""

    def __post_init__(self) -> None:
        check_ranges(self, context=f"mixture: stage at sample {self.start}: ", error=MixtureError)
        if self.levels is None and self.weights is None:
            raise MixtureError(
                f"mixture: the stage at sample {self.start} has neither levels nor weights; "
                "give one of them, or remove the stage"
            )
        _check_levels(self.levels or [])


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
    weights: dict[str, Weight] = field(default_factory=dict)
    """Factors on the shares of named sources; 0 leaves a source out."""
    stages: list[Stage] = field(default_factory=list)
    """Changes of levels and weights later in the run; `start` counts the samples before each."""
    splits: list[str] = field(default_factory=lambda: ["train"])
    """Stored splits to draw from."""
    min_duration_s: Annotated[float, Range(0, 10**9)] = 0.0
    """Leave out clips shorter than this, seconds."""
    min_stretch_s: Annotated[float, Range(0, 10**9)] = 0.0
    """Leave out clips that, joined with the adjacent clips of their video, last less than this,
    seconds. Adjacent clips that the mixture leaves out do not count."""
    limits: dict[str, tuple[Limit, Limit]] = field(default_factory=dict)
    """Smallest and largest value of numeric index columns, such as `{blur: [0, 0.6]}`. Leave out
    all other clips."""
    duplicates: Literal["all", "one"] = "all"
    """Which clips of a duplicate group to draw: all, or those of the one video that shows most of
    it. `surgrec-shard dedup CORPUS --write true` finds the groups."""
    clusters: ClusterPolicy = ClusterPolicy()
    """Choice of clips by clusters of their features."""
    block: Annotated[int, Range(1, 10**7)] = 1024
    """Samples in a mixing block. The shares are exact in every block."""
    shuffle_block: Annotated[int, Range(1, 10**9)] = 256
    """Consecutive samples of an index that stay close to each other; 1 shuffles fully."""
    shuffle_window: Annotated[int, Range(1, 10**9)] = 512
    """Number of shuffle blocks whose samples are shuffled together."""
    max_repeats: Annotated[float, Range(0, 10**12, above=True)] | None = None
    """Largest mean number of draws per sample of a source. It never changes the order. None: no
    limit."""
    over_max_repeats: Literal["refuse", "warn"] = "refuse"
    """Treatment of a run that exceeds `max_repeats`: it is refused, or starts with a warning."""

    def __post_init__(self) -> None:
        check_ranges(self, context="mixture: ", error=MixtureError)
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise MixtureError(
                f"mixture: splits contains {', '.join(map(repr, self.splits)) or 'no split'}; give "
                f"one or several of {', '.join(SPLITS)}"
            )
        _check_levels(self.levels)
        for column, (smallest, largest) in self.limits.items():
            if smallest > largest:
                raise MixtureError(
                    f"mixture: limits of {column} are {smallest:g} and {largest:g}; give the "
                    "smallest value, then the largest"
                )

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
