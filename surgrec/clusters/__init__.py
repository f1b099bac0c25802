"""Hierarchical clusters of clips, from their features: columns by which a mixture can choose.

Example:
    >>> clustered = cluster_corpus(open_corpus("corpus"), Path("features"), sizes=[500, 50])
    >>> clustered.columns().column_names
    ['key', 'sha256', 'cluster_1', 'cluster_2', 'cluster_distance', 'clustering']
"""

from surgrec.clusters._corpus import ClusteredCorpus, LevelSummary, cluster_corpus
from surgrec.clusters._measures import gini, purity
from surgrec.clusters._tree import ClusterTree, cluster_tree

__all__ = [
    "ClusterTree",
    "ClusteredCorpus",
    "LevelSummary",
    "cluster_corpus",
    "cluster_tree",
    "gini",
    "purity",
]
