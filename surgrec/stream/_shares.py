"""From a declared mixture to integers: the positions of each mixing block per stratum.

Example: domains equally (alpha 0), then sources by square root (alpha 0.5), in mixing blocks of 16
positions.

    stratum  domain       samples  share                                       quota  count
    alpha    laparoscopy       10  1/2 * sqrt(10) / (sqrt(10) + sqrt(7)) = 0.272   4.36      4
    beta     laparoscopy        7  1/2 * sqrt(7) / (sqrt(10) + sqrt(7))  = 0.228   3.64      4
    gamma    cataract           5  1/2                                   = 0.500   8.00      8

The quotas are rounded down to 4, 3 and 8. The position that is left goes to the largest remainder:
beta.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.errors import MixtureError
from surgrec.stream._mixture import Level, Mixture, ResolvedStage


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """The unit to which a mixture assigns positions.

    Its samples are of one source and agree in all level columns. Only samples that pass the
    mixture's splits and minimum duration belong to a stratum.
    """

    source: str
    domain: str
    source_digest: str
    """Digest of the source's (key, sha256) rows."""
    source_rows_digest: str
    """Digest of the admitted rows of the source in index order; splits and packing change it."""
    source_clips_digest: str = ""
    """Digest of the fields of these rows that decide a view: duration, size, number of frames."""
    size: int
    """Number of samples."""
    values: Mapping[str, str] = field(default_factory=dict)
    """Value of each level column other than source and domain."""
    rows_digest: str = ""
    """Digest of the stratum's rows; empty if the stratum is the whole source."""

    @property
    def name(self) -> str:
        """Source and level values, such as `cholec80 procedure=cholecystectomy`."""
        values = [f"{column}={value}" for column, value in sorted(self.values.items())]
        return " ".join([self.source, *values])

    def value(self, column: str) -> str:
        """Return the value of a level column: the group of this stratum at that level."""
        built_in = {"source": self.source, "domain": self.domain}
        return built_in[column] if column in built_in else self.values[column]


def shares(
    strata: Sequence[Stratum], stage: ResolvedStage, splits: Sequence[str]
) -> Float64[np.ndarray, " strata"]:
    """Return the declared share of each stratum.

    Shares sum to 1; an empty stratum or one with weight 0 has share 0.

    Args:
        strata: All strata of the run.
        stage: Levels and weights.
        splits: Splits that the sizes count; for messages only.

    Raises:
        MixtureError: A weight names an unknown or empty source, or no sample can be drawn.
    """
    sizes: Counter[str] = Counter()
    for stratum in strata:
        sizes[stratum.source] += stratum.size

    # Refuse weights that cannot be meant.
    for source, factor in stage.weights.items():
        if source not in sizes:
            raise MixtureError(
                f"mixture: weights names the source {source!r}, which the corpus does not have; "
                f"use {', '.join(sorted(sizes))}"
            )
        if factor > 0 and not sizes[source]:
            raise MixtureError(
                f"mixture: {source} has weight {factor:g}, but no sample within "
                f"min_duration_s, min_stretch_s and limits in the stored split "
                f"{' or '.join(splits)}; set its weight to 0"
            )

    # Divide among the strata that are drawn, level by level; then apply weights and normalize.
    drawn = [
        stratum for stratum in strata if stratum.size and stage.weights.get(stratum.source, 1.0) > 0
    ]
    if not drawn:
        raise MixtureError(
            f"mixture: no sample can be drawn from the stored split {' or '.join(splits)}; check "
            "splits, weights, min_duration_s, min_stretch_s and limits, and count the clips with "
            "`surgrec-shard info`"
        )
    level_shares = _divide(drawn, stage.levels)
    weighted = np.array(
        [
            level_shares.get(stratum.name, 0.0) * stage.weights.get(stratum.source, 1.0)
            for stratum in strata
        ]
    )
    return np.asarray(weighted / weighted.sum())


def block_counts(
    strata: Sequence[Stratum], mixture: Mixture, stage: ResolvedStage
) -> Int64[np.ndarray, " strata"]:
    """Return the number of positions of each mixing block that belong to each stratum.

    Counts are rounded by largest remainder, and are at least 1 if the share is positive. They sum
    to `mixture.block`.

    Raises:
        MixtureError: The mixing block has fewer positions than there are strata with a positive
            share.
    """
    share = shares(strata, stage, mixture.splits)
    served = int((share > 0).sum())
    if mixture.block < served:
        columns = " and ".join(level.by for level in stage.levels) or "source"
        raise MixtureError(
            f"mixture: block is {mixture.block}, but {columns} divide the samples into {served} "
            f"strata, and each needs a position of every block; set block to {served} or more"
        )

    # Round to 9 digits, so that the last bit of a platform's pow() cannot move a count.
    quota = np.round(share * mixture.block, 9)
    counts = np.where(share > 0, np.maximum(1, np.floor(quota)), 0).astype(np.int64)

    # If positions are left, the stratum furthest below its quota gets one. If too many are dealt,
    # because strata were lifted to 1, the one furthest above its quota with 2 or more gives one.
    while (rest := mixture.block - int(counts.sum())) != 0:
        below = np.where(share > 0, quota - counts, -np.inf)
        above = np.where(counts > 1, counts - quota, -np.inf)
        counts[int(np.argmax(below if rest > 0 else above))] += 1 if rest > 0 else -1
    return counts


def _divide(strata: Sequence[Stratum], levels: Sequence[Level]) -> dict[str, float]:
    """Return each stratum's share of its group by name; shares are natural below the levels."""
    total = sum(stratum.size for stratum in strata)
    if not levels:
        return {stratum.name: stratum.size / total for stratum in strata}

    groups: dict[str, list[Stratum]] = defaultdict(list)
    for stratum in strata:
        groups[stratum.value(levels[0].by)].append(stratum)
    parts = {
        value: (sum(stratum.size for stratum in group) / total) ** levels[0].alpha
        for value, group in groups.items()
    }
    sum_of_parts = sum(parts.values())

    return {
        name: parts[value] / sum_of_parts * share
        for value, group in groups.items()
        for name, share in _divide(group, levels[1:]).items()
    }
