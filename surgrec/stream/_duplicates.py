"""Which clips of a duplicate group a run draws: those of one video."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.shards import Source

Rows = Int64[np.ndarray, " _"]


def without_duplicates(sources: Mapping[str, Source], rows: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the rows without copies: each group keeps the clips of one video.

    It is the longest video, by the seconds of its rows; of equal ones, the first by source and
    name. So neighboring groups keep the same video. The groups of two corpora have nothing to do
    with each other.

    Args:
        sources: The sources that are drawn from.
        rows: The rows that can be drawn, by source.

    Raises:
        ShardError: A corpus has not been searched for copies since its last clips were added.
    """
    groups = {name: sources[name].index.groups_of_rows(rows[name]) for name in rows}

    # Of the videos in each group, the longest one.
    kept: dict[tuple[str, int], tuple[float, str, str]] = {}
    for name in rows:
        corpus, seconds = sources[name].store.address, _seconds(sources[name], rows[name])
        for place in np.flatnonzero(groups[name]).tolist():
            video = sources[name].index.column("video")[int(rows[name][place])].as_py()
            group, rank = (corpus, int(groups[name][place])), (-seconds[video], name, video)
            kept[group] = min(kept.get(group, rank), rank)

    videos = {group: (source, video) for group, (_, source, video) in kept.items()}
    return {
        name: rows[name][_is_kept(sources[name], rows[name], groups[name], videos)] for name in rows
    }


def _seconds(source: Source, rows: Rows) -> dict[str, float]:
    """Return the length of each video in some rows, seconds."""
    videos = source.index.column("video").take(rows).dictionary_encode()
    durations_s = source.index.column("duration_s").to_numpy()[rows]
    totals = np.bincount(videos.indices.to_numpy(), durations_s, len(videos.dictionary)).round(3)
    return dict(zip(videos.dictionary.to_pylist(), totals.tolist(), strict=True))


def _is_kept(
    source: Source, rows: Rows, groups: Rows, kept: Mapping[tuple[str, int], tuple[str, str]]
) -> Bool[np.ndarray, " _"]:
    """Return which rows have no copy, or belong to the video that their group keeps."""
    is_kept = np.asarray(groups == 0)
    for place in np.flatnonzero(groups).tolist():
        video = (source.name, source.index.column("video")[int(rows[place])].as_py())
        is_kept[place] = kept[source.store.address, int(groups[place])] == video
    return is_kept
