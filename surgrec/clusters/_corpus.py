"""Clusters of the clips of a corpus, their columns, and the common facts of clusters."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

from surgrec.clusters._measures import gini, purity
from surgrec.clusters._tree import ClusterTree, cluster_tree
from surgrec.errors import ConfigError
from surgrec.features.clip_vectors import clip_vectors
from surgrec.shards import Sample, Source
from surgrec.shards.layout import CLUSTERING
from surgrec.stream.cluster_policy import ClusterPolicy

Rows = Int64[np.ndarray, " n"]


@dataclass(frozen=True, kw_only=True)
class LevelSummary:
    """The clusters of one level."""

    level: int
    """1 is the finest."""
    clusters: int
    """Clusters with at least one clip."""
    smallest: int
    median: float
    largest: int
    """Clips."""
    gini: float
    """Inequality of the clips per cluster, 0 to 1."""
    gini_drawn: float
    """Inequality of the draws per cluster under the policy, 0 to 1."""
    source_purity: float
    """Share of clips that have the most frequent source of their cluster."""
    case_purity: float
    """The same for cases."""
    format_purity: float
    """The same for size and rate of the originals: clips of one device have the same."""


@dataclass(frozen=True, kw_only=True)
class ClusteredCorpus:
    """The clustered clips of a corpus. Arrays have an entry per clip, source after source."""

    sources: Mapping[str, Source]
    rows: Mapping[str, Rows]
    """Clustered rows of each index; those of other splits are not clustered."""
    tree: ClusterTree

    @property
    def num_clips(self) -> int:
        """Number of clustered clips."""
        return len(self.tree.distance)

    def sample(self, clip: int) -> tuple[Source, Sample]:
        """Return a clustered clip with its source."""
        for name, part in self._parts().items():
            if clip < part.stop:
                row = int(self.rows[name][clip - part.start])
                return self.sources[name], self.sources[name].index.sample(row)
        raise IndexError(f"clip {clip} of {self.num_clips}")

    def columns(self) -> pa.Table:
        """Return the further columns of the indexes: clusters by level, and the distance.

        The column `clustering` has one value, a digest of the clips and their clusters: numbers of
        clusters mean the same only in indexes with the same value.
        """
        clips = {name: self._texts(name) for name in ("key", "sha256")}
        digest = hashlib.sha256()
        for name in clips:
            digest.update("".join(clips[name].to_pylist()).encode("ascii"))
        for labels in self.tree.levels:
            digest.update(labels.astype(np.int64).tobytes())
        clustering = pa.scalar(digest.hexdigest()[:16])

        levels = {
            f"cluster_{number}": pa.array(labels, pa.int64())
            for number, labels in enumerate(self.tree.levels, start=1)
        }
        return pa.table(
            {
                **clips,
                **levels,
                "cluster_distance": pa.array(self.tree.distance, pa.float64()),
                CLUSTERING: pa.repeat(clustering, self.num_clips),
            }
        )

    def copies(self, policy: ClusterPolicy) -> Rows:
        """Return how often an epoch of each source draws each clip under the policy `balance`."""
        cases = self._codes(self._texts("case"))
        return np.concatenate(
            [
                policy.copies(
                    [labels[part] for labels in self.tree.levels], cases[part], source=name
                )
                for name, part in self._parts().items()
            ]
        )

    def summary(self, policy: ClusterPolicy) -> list[LevelSummary]:
        """Return a summary of each level, from the finest to the coarsest.

        Args:
            policy: The policy `balance` of which to show the draws.
        """
        copies = self.copies(policy)
        sources = np.repeat(list(self.rows), [len(rows) for rows in self.rows.values()])
        cases = [
            f"{source}/{case}"
            for source, case in zip(sources, self._texts("case").to_pylist(), strict=True)
        ]
        sizes_and_rates = [
            self._numbers(name) for name in ("native_width", "native_height", "native_fps")
        ]
        formats = [" ".join(map(str, values)) for values in zip(*sizes_and_rates, strict=True)]

        summaries = []
        for number, labels in enumerate(self.tree.levels, start=1):
            sizes = np.bincount(labels)
            summaries.append(
                LevelSummary(
                    level=number,
                    clusters=int((sizes > 0).sum()),
                    smallest=int(sizes[sizes > 0].min()),
                    median=float(np.median(sizes[sizes > 0])),
                    largest=int(sizes.max()),
                    gini=gini(sizes[sizes > 0]),
                    gini_drawn=gini(np.bincount(labels, copies)[sizes > 0]),
                    source_purity=purity(labels, sources.tolist()),
                    case_purity=purity(labels, cases),
                    format_purity=purity(labels, formats),
                )
            )
        return summaries

    def _parts(self) -> dict[str, slice]:
        ends = np.cumsum([len(rows) for rows in self.rows.values()]).tolist()
        return {
            name: slice(end - len(rows), end)
            for (name, rows), end in zip(self.rows.items(), ends, strict=True)
        }

    def _texts(self, column: str) -> pa.Array:
        """Return a column of text of all clips."""
        return pa.concat_arrays(
            [
                self.sources[name].index.column(column).take(pa.array(rows))
                for name, rows in self.rows.items()
            ]
        )

    def _numbers(self, column: str) -> list[float]:
        parts = [
            self.sources[name].index.column(column).to_numpy()[rows]
            for name, rows in self.rows.items()
        ]
        return list(map(float, np.concatenate(parts)))

    @staticmethod
    def _codes(texts: pa.Array) -> Rows:
        return np.asarray(texts.dictionary_encode().indices, dtype=np.int64)


def cluster_corpus(
    sources: Mapping[str, Source],
    features: Path,
    *,
    sizes: Sequence[int],
    splits: Sequence[str] = ("train",),
    rounds: int = 10,
    seed: int = 0,
    tell: Callable[[str], None] = lambda stage: None,
) -> ClusteredCorpus:
    """Cluster the clips of a corpus by their features.

    Args:
        sources: The opened corpus.
        features: Folder of its features, by `surgrec features`.
        sizes: Number of clusters by level, from the finest to the coarsest.
        splits: Stored splits whose clips are clustered. Clips of other splits have no influence.
        rounds: Resampling rounds of the levels above the finest one.
        seed: Seed of the clusters.
        tell: Called with the name of each stage before it begins.

    Raises:
        MissingError: There are no finished features.
        ConfigError: A clip has no feature, or there are fewer clips than clusters.
        CheckpointError: A file of the features is damaged.
    """
    rows = {name: source.index.rows(splits=splits) for name, source in sources.items()}
    rows = {name: own for name, own in rows.items() if len(own)}
    if not rows:
        raise ConfigError(
            f"no clip of the corpus is in the stored split {' or '.join(splits)}; choose another "
            "split, and count the clips with `surgrec-shard info`"
        )

    tell("reading the features")
    vectors = _joined(clip_vectors(features, sources, rows), sum(map(len, rows.values())))
    tree = cluster_tree(vectors, sizes, rounds=rounds, seed=seed, in_place=True, tell=tell)
    return ClusteredCorpus(sources=sources, rows=rows, tree=tree)


def _joined(parts: Iterator[Float32[np.ndarray, "_ d"]], number: int) -> Float32[np.ndarray, "n d"]:
    """Return the vectors of all sources. Those of one source are in memory twice at a time."""
    joined: Float32[np.ndarray, "n d"] | None = None
    end = 0
    for part in parts:
        if joined is None:
            joined = np.empty((number, part.shape[1]), dtype=np.float32)
        joined[end : end + len(part)] = part
        end += len(part)
    assert joined is not None
    return joined
