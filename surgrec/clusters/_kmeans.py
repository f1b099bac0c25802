"""k-means on the unit sphere, by faiss."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from surgrec.errors import ConfigError, how_to_install

_ROUGH_ITERATIONS, _ROUGH_PER_CENTROID = 10, 16
"""Rounds on a small sample, which move the centroids most of their way, and its vectors per
centroid."""
_ITERATIONS, _MOST_PER_CENTROID = 5, 64
"""Rounds on a larger sample from there, and its vectors per centroid. The others are only assigned,
exactly. Against 20 rounds on the larger sample, the mean cosine of vectors to their centroids falls
by 0.002 (0.695 to 0.693), for a third of the work (benchmarks/README.md)."""
_EXACT_START = 1000
"""Most centroids whose start is chosen by k-means++. For more, a Markov chain approximates it
(Bachem et al. 2016)."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Vectors divided among centroids."""

    centroids: Float32[np.ndarray, "k d"]
    """Of unit length."""
    labels: Int64[np.ndarray, " n"]
    """Centroid of each vector."""
    distance: Float32[np.ndarray, " n"]
    """Cosine distance of each vector to its centroid, 0 to 2."""


def kmeans(vectors: Float32[np.ndarray, "n d"], k: int, *, seed: int) -> Clusters:
    """Divide unit vectors among k centroids.

    Args:
        vectors: Vectors of unit length, at least k.
        k: Number of centroids.
        seed: Seed of the start.

    Raises:
        ConfigError: faiss is not installed.
    """
    return assigned(vectors, centroids_of(vectors, k, seed=seed))


def centroids_of(
    vectors: Float32[np.ndarray, "n d"],
    k: int,
    *,
    rows: Int64[np.ndarray, " m"] | None = None,
    seed: int,
) -> Float32[np.ndarray, "k d"]:
    """Return the centroids that k-means finds among unit vectors, of unit length.

    k-means runs on a small sample of the vectors first, and then on a larger one, which alone is in
    memory twice.

    Args:
        vectors: Vectors of unit length.
        k: Number of centroids.
        rows: The vectors to take; None: all.
        seed: Seed of the samples and of the start.

    Raises:
        ConfigError: faiss is not installed.
    """
    faiss = _faiss()
    start = (
        faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
        if k <= _EXACT_START
        else faiss.ClusteringInitMethod_AFK_MC2
    )
    sample = _sample(vectors, k * _MOST_PER_CENTROID, rows, seed)
    rough = _clustering(vectors.shape[1], k, _ROUGH_ITERATIONS, _ROUGH_PER_CENTROID, seed, start)
    rough.train(sample)
    fine = _clustering(vectors.shape[1], k, _ITERATIONS, _MOST_PER_CENTROID, seed, start)
    fine.train(sample, init_centroids=rough.centroids)
    return np.asarray(fine.centroids)


def _sample(
    vectors: Float32[np.ndarray, "n d"],
    most: int,
    rows: Int64[np.ndarray, " m"] | None,
    seed: int,
) -> Float32[np.ndarray, "_ d"]:
    """Return at most so many of the vectors to take, in their order."""
    if rows is None:
        if len(vectors) <= most:
            return vectors
        rows = np.arange(len(vectors))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
    return vectors[rows]


def _clustering(
    width: int, k: int, iterations: int, most_per_centroid: int, seed: int, start: Any
) -> Any:
    """Return k-means of faiss."""
    return _faiss().Kmeans(
        width,
        k,
        niter=iterations,
        seed=seed,
        spherical=True,
        init_method=start,
        min_points_per_centroid=1,
        max_points_per_centroid=most_per_centroid,
    )


def assigned(
    vectors: Float32[np.ndarray, "n d"], centroids: Float32[np.ndarray, "k d"]
) -> Clusters:
    """Assign each vector to its nearest centroid."""
    index = _faiss().IndexFlatIP(vectors.shape[1])
    index.add(centroids)
    cosines, labels = index.search(vectors, 1)
    return Clusters(
        centroids=centroids,
        labels=labels[:, 0].astype(np.int64),
        distance=(1 - cosines[:, 0]).clip(0, 2),
    )


def _faiss() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its SWIG types
            import faiss
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed, and finds the clusters; {how_to_install('clusters')}"
        ) from None
    return faiss
