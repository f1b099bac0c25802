"""Measures of clusters: the inequality of their sizes, and their common facts."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64


def gini(sizes: Float64[np.ndarray, " k"] | Int64[np.ndarray, " k"]) -> float:
    """Return the Gini coefficient of sizes: 0 if all are equal, near 1 if one has nearly all."""
    ascending = np.sort(np.asarray(sizes, dtype=np.float64))
    total, number = ascending.sum(), len(ascending)
    if not total:
        return 0.0
    ranks = np.arange(1, number + 1)
    return float(2 * (ranks * ascending).sum() / (number * total) - (number + 1) / number)


def purity(clusters: Int64[np.ndarray, " n"], values: Sequence[str]) -> float:
    """Return the share of clips that have the most frequent value of their cluster, 0 to 1.

    Clusters of one clip count, so a fine level is purer than a coarse one.
    """
    _, codes = np.unique(np.asarray(values), return_inverse=True)
    pairs, counts = np.unique(np.stack([clusters, codes.reshape(-1)]), axis=1, return_counts=True)
    most = np.zeros(int(clusters.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[0], counts)
    return float(most.sum() / len(clusters))
