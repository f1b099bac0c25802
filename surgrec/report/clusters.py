"""Write a page about the clusters of a corpus: their sizes, and pictures of some."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surgrec.clusters import ClusteredCorpus, LevelSummary
from surgrec.report._contact_sheet import ContactSheet, sheet_of
from surgrec.report._html import render
from surgrec.shards import Sample, Source
from surgrec.stream.cluster_policy import ClusterPolicy
from surgrec.stream.group_places import places_in_groups
from surgrec.text import counted

_LARGEST, _SMALLEST = 24, 8
_CLIPS = 8
"""Pictures of a cluster."""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A cluster with pictures of some of its clips."""

    title: str
    sheet: ContactSheet


def write_clusters(
    clustered: ClusteredCorpus, summary: Sequence[LevelSummary], policy: ClusterPolicy, out: Path
) -> None:
    """Write one page about clusters, without scripts and without network requests.

    It shows frames of the largest and smallest clusters of the coarsest level.

    Args:
        clustered: The clusters.
        summary: Summary of each level.
        policy: The policy of the summary.
        out: HTML file to write. Missing parent folders are created.

    Raises:
        StorageError: A shard cannot be read.
    """
    coarsest = clustered.tree.levels[-1]
    sizes, draws = np.bincount(coarsest), np.bincount(coarsest, clustered.copies(policy))
    by_size = [number for number in np.argsort(-sizes, kind="stable").tolist() if sizes[number]]
    shown = by_size[:_LARGEST] + by_size[_LARGEST:][-_SMALLEST:]

    page = render(
        "clusters.html.j2",
        clips=counted(clustered.num_clips, "clip"),
        sources=[[name, f"{len(rows):,}"] for name, rows in clustered.rows.items()],
        policy=policy,
        levels=[_cells(level) for level in summary],
        clusters=[
            _Shown(
                title=f"Cluster {number}: {counted(int(sizes[number]), 'clip')}, "
                f"{counted(int(draws[number]), 'draw')}",
                sheet=sheet_of(_clips_of(clustered, number)),
            )
            for number in shown
        ],
        hidden=len(by_size) - len(shown),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _clips_of(clustered: ClusteredCorpus, number: int) -> list[tuple[Source, Sample]]:
    """Return clips of a coarsest cluster, first those nearest to the centroids of its parts."""
    tree = clustered.tree
    clips = np.flatnonzero(tree.levels[-1] == number)
    places = places_in_groups(tree.levels[0], tree.distance)[clips]
    chosen = clips[np.lexsort((tree.distance[clips], places))][:_CLIPS]
    return [clustered.sample(int(clip)) for clip in chosen]


def _cells(row: LevelSummary) -> list[str]:
    return [
        *(f"{row.level}", f"{row.clusters:,}", f"{row.smallest:,}", f"{row.median:g}"),
        *(f"{row.largest:,}", f"{row.gini:.2f}", f"{row.gini_drawn:.2f}"),
        *(f"{row.source_purity:.0%}", f"{row.case_purity:.0%}", f"{row.format_purity:.0%}"),
    ]
