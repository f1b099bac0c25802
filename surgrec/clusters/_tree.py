"""A tree of clusters, from the bottom up: each level clusters the centroids of the level below.

Source: Vo et al. 2024, "Automatic data curation for self-supervised learning" (arXiv:2405.15613),
sections 3.2 and 3.3. Written from the paper.

k-means puts many centroids where vectors are dense. A level therefore clusters centroids, whose
density is flatter than that of the vectors. Resampling flattens it further: k-means runs again on a
pool of equally many vectors of each cluster, those nearest to the centroid.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float32, Int64

from surgrec.clusters._kmeans import Clusters, assigned, centroids_of, kmeans
from surgrec.errors import ConfigError
from surgrec.stream.group_places import places_in_groups

_BLOCK = 1 << 14
"""Vectors that are in memory a second time."""


@dataclass(frozen=True, kw_only=True)
class ClusterTree:
    """The clusters of vectors at several levels."""

    levels: tuple[Int64[np.ndarray, " n"], ...]
    """Cluster of each vector by level, from the finest to the coarsest; numbers from 0."""
    centroids: tuple[Float32[np.ndarray, "_ d"], ...]
    """Centroids of each level, of unit length."""
    distance: Float32[np.ndarray, " n"]
    """Cosine distance of each vector to the centroid of its finest cluster, 0 to 2."""


def cluster_tree(
    vectors: Float32[np.ndarray, "n d"],
    sizes: Sequence[int],
    *,
    rounds: int = 10,
    seed: int = 0,
    in_place: bool = False,
    tell: Callable[[str], None] = lambda stage: None,
) -> ClusterTree:
    """Cluster vectors hierarchically.

    Args:
        vectors: Vectors of any length but 0; their directions count.
        sizes: Number of clusters by level, from the finest to the coarsest.
        rounds: Resampling rounds of each level but the finest one, which has one at most: its
            vectors are many, and the levels above flatten what it leaves.
        seed: Seed of all starts.
        in_place: Let the vectors become of unit length, which saves the memory of a copy.
        tell: Called with the name of each stage before it begins.

    Raises:
        ConfigError: The sizes do not fall, or exceed the number of vectors.
    """
    for size, below in zip(sizes, [len(vectors) + 1, *sizes[:-1]], strict=True):
        if not 1 <= size < below:
            raise ConfigError(
                f"the levels have {', '.join(map(str, sizes))} clusters of {len(vectors)} clips; "
                "give each level fewer clusters than the one below it, and at most one per clip"
            )

    points = _unit(vectors, vectors if in_place else np.empty_like(vectors))
    levels: list[Clusters] = []
    for level, size in enumerate(sizes, start=1):
        clusters = _resampled(
            points,
            size,
            rounds=rounds if level > 1 else min(rounds, 1),
            seed=seed,
            tell=partial(_tell_level, tell, level),
        )
        levels.append(clusters)
        points = clusters.centroids

    # A vector belongs to the parent of its cluster.
    labels = [levels[0].labels]
    for above in levels[1:]:
        labels.append(above.labels[labels[-1]])
    return ClusterTree(
        levels=tuple(labels),
        centroids=tuple(level.centroids for level in levels),
        distance=levels[0].distance,
    )


def _resampled(
    points: Float32[np.ndarray, "n d"],
    k: int,
    *,
    rounds: int,
    seed: int,
    tell: Callable[[str], None],
) -> Clusters:
    """Cluster points, then again and again those nearest to each centroid."""
    tell("k-means")
    clusters = kmeans(points, k, seed=seed)
    nearest = max(1, len(points) // (2 * k))
    for number in range(1, rounds + 1):
        tell(f"resampling {number} of {rounds}")
        pool = nearest_of_each(clusters, nearest)
        if len(pool) < k:  # clusters without a point have none in the pool
            break
        clusters = assigned(points, centroids_of(points, k, rows=pool, seed=seed + number))
    return clusters


def nearest_of_each(clusters: Clusters, count: int) -> Int64[np.ndarray, " pool"]:
    """Return the vectors that are nearest to their centroid, at most `count` of each cluster."""
    return np.flatnonzero(places_in_groups(clusters.labels, clusters.distance) < count)


def _tell_level(tell: Callable[[str], None], level: int, stage: str) -> None:
    tell(f"level {level}: {stage}")


def _unit(
    vectors: Float32[np.ndarray, "n d"], out: Float32[np.ndarray, "n d"]
) -> Float32[np.ndarray, "n d"]:
    """Write the vectors at unit length into an array, which may be the same, and return it."""
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(vectors), _BLOCK)]
    lengths = [
        np.linalg.norm(vectors[block].astype(np.float64), axis=1, keepdims=True) for block in blocks
    ]
    zeros = sum(int((each <= 0).sum()) for each in lengths)
    if zeros:
        raise ConfigError(
            f"{zeros} clips have a feature of length 0, without a direction; extract the features "
            "again, or with another encoder"
        )
    for block, length in zip(blocks, lengths, strict=True):
        out[block] = vectors[block] / length
    return out
