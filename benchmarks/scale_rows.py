"""The rows of `scale.py` that are no command: each is a process of its own.

.venv/bin/python -m benchmarks.scale_rows NAME CORPUS
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from surgrec_shard.duplicate_groups import group_clips, groups_table
from surgrec_shard.further_columns import publish_further_columns
from surgrec_shard.stored_hashes import videos_of_sources

from benchmarks.synthetic_index import write_synthetic
from surgrec.shards import Sample, Source, open_corpus, read_corpus_labels, write_source
from surgrec.splits import corpus_videos, divide, read_split
from surgrec.storage import open_store
from surgrec.stream.cluster_policy import ClusterPolicy

SHARES = (0.4, 0.25, 0.15, 0.08, 0.05, 0.04, 0.02, 0.01)
"""Share of the clips and videos of each source."""
LEVELS = (5000, 500, 50)
WIDTH = 384
"""Dimensions of features."""


def _make(root: str, clips: str, videos: str) -> None:
    sizes, of_videos = (
        [round(int(total) * share) for share in SHARES] for total in (clips, videos)
    )
    write_synthetic(Path(root), sizes, videos=of_videos)


def _make_features(root: str) -> None:
    from benchmarks.synthetic_features import write_features  # torch would count in all rows

    write_features(Path(root), Path(root).with_name(f"features-{Path(root).name}"), WIDTH)


def _make_cache(root: str) -> None:
    shutil.rmtree(os.environ["SURGREC_CACHE"], ignore_errors=True)
    open_corpus(root)


def _open(root: str) -> None:
    open_corpus(root)


def _labels(root: str) -> None:
    for source in open_corpus(root).values():
        read_corpus_labels(source)


def _split_rules(root: str) -> None:
    divide(read_split(Path(root).with_name("split.yaml")), corpus_videos(open_corpus(root)))


def _publish(root: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, source in open_corpus(root).items():
            write_source(
                open_store(folder),
                name,
                samples=_groups(source),
                shards=source.entry.shards,
                labels=[],
                dropped=[],
                videos_failed=0,
                plan="",
            )


def _groups(source: Source) -> Iterator[list[Sample]]:
    """Yield the samples of one shard after the other, as those of groups."""
    shards = source.index.column("shard").to_numpy(zero_copy_only=False)
    _, first = np.unique(shards.astype(str), return_index=True)
    for rows in np.split(np.arange(len(shards)), np.sort(first)[1:]):
        yield [source.index.sample(int(row)) for row in rows]


def _clusters(root: str) -> None:
    """Write random clusters, with all that `surgrec cluster` does behind the tree."""
    from surgrec.clusters import ClusteredCorpus, ClusterTree  # torch would count in all rows

    sources = open_corpus(root)
    rows = {name: source.index.rows(splits=["train"]) for name, source in sources.items()}
    count = sum(map(len, rows.values()))
    fine = np.random.default_rng(0).zipf(1.5, count) % LEVELS[0]
    levels = (fine, *(fine % size for size in LEVELS[1:]))
    distance = np.full(count, 0.5, dtype=np.float32)
    tree = ClusterTree(levels=levels, centroids=(), distance=distance)
    clustered = ClusteredCorpus(sources=sources, rows=rows, tree=tree)
    clustered.summary(ClusterPolicy(policy="balance", share=0.5))
    publish_further_columns(open_store(root), sources, clustered.columns(), is_alone=True)


def _duplicates(root: str) -> None:
    """Do all that `surgrec-shard dedup --write true` does beside hashes and their search."""
    sources = open_corpus(root)
    videos = videos_of_sources(sources)
    for video in videos:
        video.digest()
    further = groups_table(group_clips(videos, []))
    publish_further_columns(open_store(root), sources, further, is_alone=True)


ROWS: dict[str, Callable[..., None]] = {
    "make": _make,
    "features": _make_features,
    "open, and make the cache": _make_cache,
    "open": _open,
    "labels": _labels,
    "split rules": _split_rules,
    "publish the indexes": _publish,
    "surgrec cluster, behind the tree": _clusters,
    "surgrec-shard dedup, beside hashes": _duplicates,
}

if __name__ == "__main__":
    ROWS[sys.argv[1]](*sys.argv[2:])
