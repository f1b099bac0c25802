"""How much of each source a run sees: declared, hierarchical, exact in every block of positions."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import MixtureError
from surgrec.manifest import SPLITS


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of the mixture: samples are grouped by a column, and each group's share is proportional to n^alpha."""

    by: Literal["domain", "source"]
    """Index column whose values are the groups of this level."""
    alpha: float
    """Temperature: 1 natural shares, 0.5 square root, 0 equal shares."""

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise MixtureError(
                f"mixture: alpha of the level {self.by} is {self.alpha}; it goes from 0 (equal) to 1 (natural)"
            )


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """What a run draws from, and in which proportions."""

    levels: list[Level] = field(default_factory=lambda: [Level(by="domain", alpha=0.0), Level(by="source", alpha=0.5)])
    """Outermost first. The default balances domains equally and sources within a domain by square root."""
    weights: dict[str, float] = field(default_factory=dict)
    """Factors on the shares of named sources; 0 leaves a source out."""
    splits: list[str] = field(default_factory=lambda: ["train"])
    """Stored splits to draw from."""
    min_duration_s: float = 0.0
    """Leave out clips shorter than this, seconds."""
    block: int = 1024
    """Positions in which the proportions are exact."""
    shuffle_block: int = 256
    """Neighbouring samples that are read close together; 1 shuffles fully."""
    shuffle_window: int = 512
    """Blocks whose samples are shuffled with each other."""

    def __post_init__(self) -> None:
        for name in ("block", "shuffle_block", "shuffle_window"):
            if getattr(self, name) < 1:
                raise MixtureError(f"mixture: {name} is {getattr(self, name)}; it must be at least 1")
        if not self.splits or not set(self.splits) <= set(SPLITS):
            raise MixtureError(f"mixture: splits is {self.splits}; name one or several of {', '.join(SPLITS)}")
        columns = [level.by for level in self.levels]
        if len(set(columns)) < len(columns):
            raise MixtureError(
                f"mixture: levels name a column twice ({', '.join(columns)}); give each column one level"
            )
        for source, factor in self.weights.items():
            if not factor >= 0 or factor == float("inf"):
                raise MixtureError(
                    f"mixture: the weight of {source} is {factor}; it must be a finite number, 0 or more"
                )


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What the mixture distributes over: the samples of one source that the run may draw."""

    source: str
    domain: str
    digest: str
    """Digest of the source's (key, sha256) rows."""
    rows: str
    """Digest of the keys that may be drawn, in the order of the index: it tells apart other splits and packings."""
    size: int
    """Samples that pass the mixture's splits and minimum duration."""


def shares(leaves: Sequence[Leaf], mixture: Mixture) -> Float64[np.ndarray, " leaves"]:
    """The declared share of each leaf; they sum to 1, and a leaf without samples or with weight 0 has none.

    Raises:
        MixtureError: A weight names a source that is not there or has no samples, or nothing is left to draw.
    """
    sizes = {leaf.source: leaf.size for leaf in leaves}
    for source, factor in mixture.weights.items():
        if source not in sizes:
            raise MixtureError(
                f"mixture: weights name the source {source!r}; the corpus has {', '.join(sorted(sizes))}"
            )
        if factor > 0 and not sizes[source]:
            raise MixtureError(f"mixture: {source} has a weight but no sample in splits {mixture.splits}; set it to 0")
    drawn = [leaf for leaf in leaves if leaf.size and mixture.weights.get(leaf.source, 1.0) > 0]
    if not drawn:
        raise MixtureError(f"mixture: no sample to draw in splits {mixture.splits}; look at `surgrec-shard info`")
    by_source = _divide(drawn, mixture.levels)
    weighted = np.array([by_source.get(leaf.source, 0.0) * mixture.weights.get(leaf.source, 1.0) for leaf in leaves])
    return np.asarray(weighted / weighted.sum())


def block_counts(leaves: Sequence[Leaf], mixture: Mixture) -> Int64[np.ndarray, " leaves"]:
    """How many of each block's positions belong to each leaf: largest remainder, at least 1 where the share is positive.

    Raises:
        MixtureError: The block has fewer positions than there are leaves to serve.
    """
    share = shares(leaves, mixture)
    served = int((share > 0).sum())
    if mixture.block < served:
        raise MixtureError(
            f"mixture: block {mixture.block} is smaller than the {served} sources it must serve; raise it"
        )
    quota = np.round(share * mixture.block, 9)  # so that the last bit of a platform's pow() cannot move a count
    counts = np.where(share > 0, np.maximum(1, np.floor(quota)), 0).astype(np.int64)
    while (rest := mixture.block - int(counts.sum())) != 0:
        short = np.where(share > 0, quota - counts, -np.inf)
        excess = np.where(counts > 1, counts - quota, -np.inf)
        counts[int(np.argmax(short if rest > 0 else excess))] += 1 if rest > 0 else -1
    return counts


def _divide(leaves: Sequence[Leaf], levels: Sequence[Level]) -> dict[str, float]:
    """Share of each source of a group; below the last level the shares are natural."""
    total = sum(leaf.size for leaf in leaves)
    if not levels:
        return {leaf.source: leaf.size / total for leaf in leaves}
    groups: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        groups[getattr(leaf, levels[0].by)].append(leaf)
    parts = {name: (sum(leaf.size for leaf in group) / total) ** levels[0].alpha for name, group in groups.items()}
    whole = sum(parts.values())
    return {
        source: parts[name] / whole * share
        for name, group in groups.items()
        for source, share in _divide(group, levels[1:]).items()
    }
