"""k-means on the unit sphere, by faiss."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from surgrec.errors import ConfigError

_ITERATIONS = 20
_MOST_PER_CENTROID = 64
"""Vectors per centroid that k-means looks at; the others are only assigned."""
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
    vectors: Float32[np.ndarray, "n d"], k: int, *, seed: int
) -> Float32[np.ndarray, "k d"]:
    """Return the centroids that k-means finds among unit vectors, of unit length.

    Raises:
        ConfigError: faiss is not installed.
    """
    faiss = _faiss()
    start = (
        faiss.ClusteringInitMethod_KMEANS_PLUS_PLUS
        if k <= _EXACT_START
        else faiss.ClusteringInitMethod_AFK_MC2
    )
    clustering = faiss.Kmeans(
        vectors.shape[1],
        k,
        niter=_ITERATIONS,
        seed=seed,
        spherical=True,
        init_method=start,
        min_points_per_centroid=1,
        max_points_per_centroid=_MOST_PER_CENTROID,
    )
    clustering.train(vectors)
    return np.asarray(clustering.centroids)


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
            f"{error.name} is not installed, and finds the clusters; install it with "
            "`pip install surgrec[clusters]`"
        ) from None
    return faiss
