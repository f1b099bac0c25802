"""VideoMAE's tube masks: the same tubelets are hidden in all frames.

A hidden tubelet therefore has no visible neighbor in time to be copied from.
"""

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks._grid import TubeletGrid
from surgrec.masks._multiblock import Masks
from surgrec.masks._random_source import uniforms
from surgrec.masks._running_cell import CELL, decoded_tokens

_TUBES, _CELLS = 0, 1
"""Purposes of random numbers: which tubes are hidden, and where the decoder's cells start."""


def tube_masks(
    grid: TubeletGrid,
    ratio: float,
    *,
    seed: int,
    positions: Int64[np.ndarray, " b"],
    decoder_ratio: float = 0.0,
    views: int = 1,
) -> Masks:
    """Return the masks of the samples at these positions.

    Visible tokens are the context, hidden tokens the target. Each row is a function of grid,
    ratios, seed, position and view alone. All rows have equal lengths.

    Args:
        grid: Grid of the clips.
        ratio: Share of a frame's tubelets that is hidden, rounded down to whole tubelets.
        seed: Seed of the run.
        positions: Positions of the batch in the stream.
        decoder_ratio: Share of the tokens that is not decoded, as in VideoMAE v2. 0, as in
            VideoMAE: all hidden tokens are decoded and predicted.
        views: Rows per sample, next to each other.

    Raises:
        ConfigError: The ratios hide nothing or everything of this grid.

    Source: VideoMAE, arXiv:2203.12602, section 3.3; ratio 0.9 hides 176 of 196 tubelets of a frame.
    """
    per_frame = grid.height * grid.width
    num_hidden = int(ratio * per_frame)
    if not 0 < num_hidden < per_frame:
        raise ConfigError(
            f"mask_ratio {ratio} hides {num_hidden} of {grid.height} x {grid.width} tubelets of a "
            "frame, but some must be hidden and some visible; change mask_ratio, or raise crop_px"
        )

    # Hide the tubelets with the lowest random numbers, in all frames.
    rows = [(position, view) for position in positions.tolist() for view in range(views)]
    numbers = np.stack(
        [uniforms(seed, position, _TUBES, view)(per_frame) for position, view in rows]
    )
    order = np.argsort(numbers, axis=1, kind="stable")
    visible, hidden = _tubes(grid, order[:, num_hidden:]), _tubes(grid, order[:, :num_hidden])
    if not decoder_ratio:
        return Masks(context_index=visible, target_index=hidden)

    # VideoMAE v2: decode a part of the tokens, and score only the hidden ones of these.
    offsets = np.array(
        [int(CELL * uniforms(seed, position, _CELLS, view)(1)[0]) for position, view in rows]
    )
    decoded = decoded_tokens(grid, decoder_ratio, offsets)
    return Masks(
        context_index=visible,
        target_index=_select(hidden, decoded),
        unscored_index=_select(visible, decoded),
    )


def _tubes(grid: TubeletGrid, in_frame: Int64[np.ndarray, "b p"]) -> Int64[np.ndarray, "b k"]:
    """Return the ascending token ids of these tubelets of a frame, in all frames."""
    first_ids = np.arange(grid.frames) * (grid.height * grid.width)
    tubes = first_ids[:, None] + np.sort(in_frame, axis=1)[:, None, :]
    return np.asarray(tubes.reshape(len(in_frame), -1), dtype=np.int64)


def _select(
    index: Int64[np.ndarray, "b k"], chosen: Bool[np.ndarray, "b n"]
) -> Int64[np.ndarray, "b m"]:
    """Return the ids that are chosen. Every tube has equally many, so rows have equal lengths."""
    return np.asarray(index[np.take_along_axis(chosen, index, axis=1)].reshape(len(index), -1))
