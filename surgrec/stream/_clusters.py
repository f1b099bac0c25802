"""Which clips of each source a run draws, and how often: a choice by clusters of their features."""

import re
from collections.abc import Collection, Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float64, Int64
from pyarrow import compute

from surgrec.errors import ConfigError, MixtureError, ShardError
from surgrec.shards import Source
from surgrec.shards.layout import CLUSTERING
from surgrec.splits import Rule, choose, corpus_videos
from surgrec.stream.cluster_policy import ClusterPolicy
from surgrec.text import counted

Rows = Int64[np.ndarray, " _"]

_COLUMN = re.compile(r"cluster_([1-9])")
_REMEDY = "run `surgrec cluster CORPUS --write true`, or set the policy of clusters to off"


def chosen_by_clusters(
    sources: Mapping[str, Source], rows: Mapping[str, Rows], policy: ClusterPolicy
) -> dict[str, Rows]:
    """Return the rows that a policy chooses, ascending; a clip with several draws has several rows.

    Args:
        sources: The sources that are drawn from.
        rows: The rows that can be drawn, by source.
        policy: The policy, not `off`.

    Raises:
        ShardError: A source has no clusters, or clips were added after they were found.
        MixtureError: The target matches no clip that can be drawn, a source lacks the level of the
            target, or sources were clustered apart.
    """
    drawn = {name: sources[name] for name, own in rows.items() if len(own)}
    weights = None
    if policy.policy == "target":
        _require_same_clusters(drawn, policy.target_level)
        weights = _target_weights(sources, rows, policy)
    chosen = {}
    for name, own in rows.items():
        if not len(own):
            chosen[name] = own
            continue

        source = sources[name]
        cases = source.index.column("case").take(pa.array(own)).dictionary_encode()
        copies = policy.copies(
            [_clusters(source, own, level) for level in range(1, _num_levels(source) + 1)],
            np.asarray(cases.indices, dtype=np.int64),
            source=name,
            weights=weights,
        )
        chosen[name] = np.repeat(own, copies)
    return chosen


def _num_levels(source: Source) -> int:
    """Return the number of levels of the clusters of a source."""
    names = source.index.table().column_names
    levels = sorted(int(found[1]) for name in names if (found := _COLUMN.fullmatch(name)))
    if levels != list(range(1, len(levels) + 1)) or not levels:
        raise ShardError(
            f"{source.name} has no column cluster_1 in its index, but the mixture chooses by "
            f"clusters; {_REMEDY}"
        )
    return len(levels)


def _require_same_clusters(sources: Mapping[str, Source], level: int) -> None:
    """Refuse sources whose numbers of clusters at the level of the target are not comparable."""
    for name, source in sources.items():
        if level > (levels := _num_levels(source)):
            raise MixtureError(
                f"mixture: clusters: target_level is {level}, but {name} has "
                f"{counted(levels, 'level')}; lower it, or cluster the corpus with more levels"
            )

    clusterings = {name: _clustering(source) for name, source in sources.items()}
    first = next(iter(clusterings), "")
    for name, clustering in clusterings.items():
        if name != first and (not clustering or clustering != clusterings[first]):
            raise MixtureError(
                f"mixture: clusters: {first} and {name} were clustered apart, by the column "
                f"{CLUSTERING} of their indexes, so that the numbers of their clusters have "
                "nothing in common, but the policy is target; build both into one corpus and run "
                "`surgrec cluster CORPUS --write true`, or give one of them the weight 0"
            )


def _clustering(source: Source) -> str:
    """Return the digest of the clustering of a source; empty if its index does not have one."""
    if CLUSTERING not in source.index.table().column_names:
        return ""
    values = set(source.index.column(CLUSTERING).unique().to_pylist()) - {None}
    return str(values.pop()) if len(values) == 1 else ""


def _clusters(source: Source, rows: Rows, level: int) -> Rows:
    """Return the cluster of each row at a level."""
    column = source.index.column(f"cluster_{level}")
    if not pa.types.is_integer(column.type):
        raise ShardError(
            f"the column cluster_{level} of {source.name} has no whole numbers; {_REMEDY}"
        )

    taken = column.take(pa.array(rows))
    if taken.null_count:
        raise ShardError(
            f"{taken.null_count} of {len(rows)} clips of {source.name} have no cluster: they were "
            f"added later, or are not of the clustered splits; {_REMEDY}"
        )

    clusters = np.asarray(taken.to_numpy(), dtype=np.int64)
    if clusters.min() < 0:
        raise ShardError(
            f"the column cluster_{level} of {source.name} has negative numbers; {_REMEDY}"
        )
    return clusters


def _target_weights(
    sources: Mapping[str, Source], rows: Mapping[str, Rows], policy: ClusterPolicy
) -> Float64[np.ndarray, " clusters"]:
    """Return the share of each cluster among the clips of the target.

    Source: V-JEPA 2 (arXiv:2506.09985), section 10.2.
    """
    rule = Rule(sources=policy.target_sources, cases=policy.target_cases, stored=[])
    try:
        videos = choose(rule, corpus_videos({name: sources[name] for name in rows}), "target")
    except ConfigError as error:
        raise MixtureError(f"mixture: clusters: {error}") from None
    names = {(video.source, video.video) for video in videos}

    found = [
        _clusters(sources[name], own, policy.target_level)
        for name in sorted(rows)
        if len(own := _rows_of_videos(sources[name], rows[name], names))
    ]
    if not found:
        raise MixtureError(
            "mixture: clusters: no clip of the target can be drawn; its cases must be of the "
            "mixture's splits and within its limits"
        )
    counts = np.bincount(np.concatenate(found))
    return np.asarray(counts / counts.sum())


def _rows_of_videos(source: Source, rows: Rows, videos: Collection[tuple[str, str]]) -> Rows:
    """Return the rows whose source and video are among these."""
    names = {video for name, video in videos if name == source.name}
    column = source.index.column("video").take(pa.array(rows))
    is_in = compute.is_in(column, value_set=pa.array(sorted(names), pa.string()))
    return np.asarray(rows[is_in.to_numpy(zero_copy_only=False)])
