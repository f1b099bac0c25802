"""The choice of clips by clusters that a mixture declares."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import MixtureError
from surgrec.ranges import Range, check_ranges
from surgrec.stream._permutation import hash_text
from surgrec.stream._water_filling import fair_copies


@dataclass(frozen=True, kw_only=True)
class ClusterPolicy:
    """Which clips of each source a run draws, by the clusters of `surgrec cluster --write true`.

    The policy acts within each source, so the shares of sources stay those of the levels.
    """

    policy: Literal["off", "balance", "target"] = "off"
    """off: all clips. balance: as many clips of each cluster as possible, from the coarsest level
    to the finest, then of each case. target: clusters in proportion to those of the clips of
    `target_sources` and `target_cases`."""
    share: Annotated[float, Range(0, 1000, above=True)] = 0.5
    """Clips of an epoch, as a share of the source's clips. With `max_repeats: 1` at most 1."""
    max_repeats: Annotated[int, Range(1, 1000)] = 1
    """Most draws of a clip in an epoch, for clips of small clusters."""
    target_sources: list[str] = field(default_factory=list)
    """Sources whose clips are the target: names or patterns. Empty: all sources."""
    target_cases: list[str] = field(default_factory=list)
    """Cases whose clips are the target: names or patterns. Empty: all cases of these sources."""
    target_level: Annotated[int, Range(1, 9)] = 1
    """Level whose clusters have the target's shares; 1 is the finest."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 0
    """Seed of the choice among clips of one cluster and case."""

    def __post_init__(self) -> None:
        context = "mixture: clusters: "
        check_ranges(self, context=context, error=MixtureError)

        if self.policy == "target" and not (self.target_sources or self.target_cases):
            raise MixtureError(
                f"{context}policy is target, but no clips are the target; give target_sources or "
                "target_cases"
            )
        if self.policy != "target" and (self.target_sources or self.target_cases):
            raise MixtureError(
                f"{context}target_sources and target_cases need policy: target, but policy is "
                f"{self.policy}"
            )

        if self.policy != "off" and self.share > self.max_repeats:
            raise MixtureError(
                f"{context}share is {self.share:g}, but each clip may come {self.max_repeats} "
                "times; lower share, or raise max_repeats"
            )

    def copies(
        self,
        levels: Sequence[Int64[np.ndarray, " clips"]],
        cases: Int64[np.ndarray, " clips"],
        *,
        source: str,
        weights: Float64[np.ndarray, " clusters"] | None = None,
    ) -> Int64[np.ndarray, " clips"]:
        """Return how often an epoch draws each clip of a source.

        Args:
            levels: Cluster of each clip by level, from the finest to the coarsest.
            cases: Case of each clip, as a number from 0.
            source: Name of the source; it and the seed decide among equal clips.
            weights: Shares of the clusters of `target_level`, for the policy `target`.
        """
        if weights is not None:
            # A target has shares of its own, so that coarser levels do not matter.
            levels = levels[: self.target_level]
            missing = max(0, int(levels[-1].max()) + 1 - len(weights))
            weights = np.pad(weights, (0, missing))
        return fair_copies(
            [*levels[::-1], cases],
            round(self.share * len(cases)),
            repeats=self.max_repeats,
            key=hash_text(f"{self.seed} {source}"),
            weights=weights,
        )
