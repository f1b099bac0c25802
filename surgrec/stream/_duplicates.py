"""Which clips of a duplicate group a run draws: those of one video."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.shards import Source

Rows = Int64[np.ndarray, " _"]


def without_duplicates(sources: Mapping[str, Source], rows: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return the rows without copies: each group keeps the clips of one video.

    It is the video with most seconds in the group; of equal ones, the first by source and name. The
    groups of two corpora have nothing to do with each other.

    Args:
        sources: The sources that are drawn from.
        rows: The rows that can be drawn, by source.

    Raises:
        ShardError: A corpus has not been searched for copies since its last clips were added.
    """
    groups = {name: sources[name].index.groups_of_rows(rows[name]) for name in rows}

    # Seconds of each video in each group.
    seconds: dict[tuple[str, int], dict[tuple[str, str], float]] = {}
    for name in rows:
        index, corpus = sources[name].index, sources[name].store.address
        durations_s = index.column("duration_s").to_numpy()
        for place in np.flatnonzero(groups[name]).tolist():
            row = int(rows[name][place])
            videos = seconds.setdefault((corpus, int(groups[name][place])), {})
            video = (name, index.column("video")[row].as_py())
            videos[video] = videos.get(video, 0.0) + float(durations_s[row])

    kept = {group: _fullest(videos) for group, videos in seconds.items()}
    return {
        name: rows[name][_is_kept(sources[name], rows[name], groups[name], kept)] for name in rows
    }


def _fullest(seconds: Mapping[tuple[str, str], float]) -> tuple[str, str]:
    """Return the video with most seconds, the first of equal ones."""
    return min(seconds, key=lambda video: (-round(seconds[video], 3), video))


def _is_kept(
    source: Source, rows: Rows, groups: Rows, kept: Mapping[tuple[str, int], tuple[str, str]]
) -> Bool[np.ndarray, " _"]:
    """Return which rows have no copy, or belong to the video that their group keeps."""
    is_kept = np.asarray(groups == 0)
    for place in np.flatnonzero(groups).tolist():
        video = (source.name, source.index.column("video")[int(rows[place])].as_py())
        is_kept[place] = kept[source.store.address, int(groups[place])] == video
    return is_kept
