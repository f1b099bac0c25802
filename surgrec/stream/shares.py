"""From a declared mixture to whole numbers: how many of each block's positions belong to which leaf."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import MixtureError
from surgrec.stream.mixture import Level, Mixture, Phase


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """What the mixture distributes over: samples of one source that no level tells apart, and that the run may draw."""

    source: str
    domain: str
    digest: str
    """Digest of the source's (key, sha256) rows."""
    rows: str
    """Digest of the source's samples that may be drawn, in the order of the index: it tells other splits and packings apart."""
    size: int
    """Samples of the leaf; they pass the mixture's splits and minimum duration."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Of the other level columns, by column."""
    own_rows: str = ""
    """Digest of the leaf's samples, where it is not the whole source."""

    @property
    def name(self) -> str:
        """The source, and what tells the leaf from the source's others."""
        return " ".join(
            [self.source, *(f"{column}={value}" for column, value in sorted(self.values.items()))]
        )

    def value(self, column: str) -> str:
        """The group that the leaf belongs to at the level of this column."""
        own = {"source": self.source, "domain": self.domain}
        return own[column] if column in own else self.values[column]


def shares(
    leaves: Sequence[Leaf], phase: Phase, splits: Sequence[str]
) -> Float64[np.ndarray, " leaves"]:
    """The declared share of each leaf; they sum to 1, and a leaf without samples or with weight 0 has none.

    Args:
        leaves: All of the run.
        phase: Levels and weights.
        splits: That the sizes count; for messages.

    Raises:
        MixtureError: A weight names a source that is not there or has no samples, or nothing is left to draw.
    """
    sizes: Counter[str] = Counter()
    for leaf in leaves:
        sizes[leaf.source] += leaf.size
    for source, factor in phase.weights.items():
        if source not in sizes:
            raise MixtureError(
                f"mixture: weights name the source {source!r}; the corpus has {', '.join(sorted(sizes))}"
            )
        if factor > 0 and not sizes[source]:
            raise MixtureError(
                f"mixture: {source} has a weight but no sample in splits {list(splits)}; set it to 0"
            )
    drawn = [leaf for leaf in leaves if leaf.size and phase.weights.get(leaf.source, 1.0) > 0]
    if not drawn:
        raise MixtureError(
            f"mixture: no sample to draw in splits {list(splits)}; look at `surgrec-shard info`"
        )
    by_leaf = _divide(drawn, phase.levels)
    weighted = np.array(
        [by_leaf.get(leaf.name, 0.0) * phase.weights.get(leaf.source, 1.0) for leaf in leaves]
    )
    return np.asarray(weighted / weighted.sum())


def block_counts(
    leaves: Sequence[Leaf], mixture: Mixture, phase: Phase
) -> Int64[np.ndarray, " leaves"]:
    """How many of each block's positions belong to each leaf: largest remainder, at least 1 where the share is positive.

    Raises:
        MixtureError: The block has fewer positions than there are leaves to serve.
    """
    share = shares(leaves, phase, mixture.splits)
    served = int((share > 0).sum())
    if mixture.block < served:
        columns = ", ".join(level.by for level in phase.levels) or "source"
        raise MixtureError(
            f"mixture: block {mixture.block} is smaller than the {served} groups by {columns} that it must serve; raise it"
        )
    quota = np.round(
        share * mixture.block, 9
    )  # so that the last bit of a platform's pow() cannot move a count
    counts = np.where(share > 0, np.maximum(1, np.floor(quota)), 0).astype(np.int64)
    while (rest := mixture.block - int(counts.sum())) != 0:
        short = np.where(share > 0, quota - counts, -np.inf)
        excess = np.where(counts > 1, counts - quota, -np.inf)
        counts[int(np.argmax(short if rest > 0 else excess))] += 1 if rest > 0 else -1
    return counts


def _divide(leaves: Sequence[Leaf], levels: Sequence[Level]) -> dict[str, float]:
    """Share of each leaf of a group, by name; below the last level the shares are natural."""
    total = sum(leaf.size for leaf in leaves)
    if not levels:
        return {leaf.name: leaf.size / total for leaf in leaves}
    groups: dict[str, list[Leaf]] = defaultdict(list)
    for leaf in leaves:
        groups[leaf.value(levels[0].by)].append(leaf)
    parts = {
        name: (sum(leaf.size for leaf in group) / total) ** levels[0].alpha
        for name, group in groups.items()
    }
    whole = sum(parts.values())
    return {
        leaf: parts[name] / whole * share
        for name, group in groups.items()
        for leaf, share in _divide(group, levels[1:]).items()
    }
