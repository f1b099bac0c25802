"""Stretches: the clips of a video that follow each other without a gap."""

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.shards import Source

HAIR_S = 1e-3
"""Tolerance of times in seconds. Containers round them; Matroska rounds to milliseconds."""

_SAME = ("fps", "width", "height")
"""Columns in which the clips of a stretch agree."""


class Stretches:
    """The stretches of some clips of a source.

    Two clips of a video are adjacent if one begins where the other ends, at most a frame earlier or
    later, and if they have the same frame rate and size.

    Args:
        source: The source.
        rows: The rows that can be adjacent; others are treated as gaps.
    """

    def __init__(self, source: Source, rows: Int64[np.ndarray, " n"]) -> None:
        index, rows = source.index, np.unique(rows)
        starts_s = index.column("start_s").to_numpy()[rows]
        videos = np.asarray(index.column("video").take(rows).dictionary_encode().indices)

        # Sort by video and time. A stretch begins where a clip does not continue the one before.
        order = np.lexsort((starts_s, videos))
        self._rows, starts_s, videos = rows[order], starts_s[order], videos[order]
        ends_s = starts_s + index.column("duration_s").to_numpy()[self._rows]
        follows = videos[1:] == videos[:-1]
        for name in _SAME:
            values = index.column(name).to_numpy()[self._rows]
            follows &= values[1:] == values[:-1]
        frame_s = 1 / index.column("fps").to_numpy()[self._rows][1:]
        follows &= np.abs(starts_s[1:] - ends_s[:-1]) <= frame_s + HAIR_S

        breaks = np.flatnonzero(~follows) + 1
        self._edges = np.unique(np.concatenate([[0], breaks, [len(rows)]])).astype(np.int64)
        self._lengths_s = ends_s[self._edges[1:] - 1] - starts_s[self._edges[:-1]]
        self._places = np.full(index.num_rows, -1, dtype=np.int64)
        self._places[self._rows] = np.arange(len(rows))

    def around(self, row: int) -> Int64[np.ndarray, " k"]:
        """Return the rows of the stretch that holds a row, in the order of time."""
        number = self._numbers(np.array([row], dtype=np.int64))[0]
        first, end = self._edges[number : number + 2].tolist()
        return np.asarray(self._rows[first:end])

    def lengths_s(self, rows: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " n"]:
        """Return the length of the stretch that holds each row, seconds."""
        return np.asarray(self._lengths_s[self._numbers(rows)])

    def _numbers(self, rows: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " n"]:
        """Return the number of the stretch that holds each row."""
        places = self._places[rows]
        return np.asarray(np.searchsorted(self._edges, places, side="right") - 1)
