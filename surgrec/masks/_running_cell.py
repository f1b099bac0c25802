"""VideoMAE v2's decoder mask: the tokens that are decoded at all."""

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks._grid import TubeletGrid

CELL = 4
"""Tubelets of a cell of 2 x 2, and period of its pattern along time, in tubelets."""


def decoded_tokens(
    grid: TubeletGrid, ratio: float, offsets: Int64[np.ndarray, " b"]
) -> Bool[np.ndarray, "b n"]:
    """Return True for tokens that are decoded.

    Identical cells of 2 x 2 tubelets tile every frame. A run of `int(4 * ratio)` of a cell's four
    tubelets, counted row by row, is not decoded. The run moves on by one tubelet with every step in
    time.

    Args:
        grid: Grid of the clips.
        ratio: Share of the tokens that is not decoded.
        offsets: Start of the run for each clip, 0 to 3.

    Raises:
        ConfigError: Cells do not tile this grid, or the ratio skips none or all of a cell.

    Source: VideoMAE v2, arXiv:2303.16727, section 3.2; at ratio 0.5, 784 of 1568 tokens are
        decoded.
    """
    num_skipped = int(CELL * ratio)
    if not 0 < num_skipped < CELL:
        raise ConfigError(
            f"decoder_mask_ratio {ratio} skips {num_skipped} of each {CELL} tubelets; give 0.25, "
            "0.5 or 0.75"
        )
    if grid.frames % CELL or grid.height % 2 or grid.width % 2:
        raise ConfigError(
            f"cells of {CELL} x 2 x 2 tubelets do not tile a clip of {grid}; "
            "set decoder_mask_ratio to 0, or change num_frames or crop_px"
        )

    # Rank of each tubelet of a cell in the run, [b t cell]: ranks below num_skipped are in the run.
    tubelet = np.arange(CELL)
    frame = np.arange(grid.frames)
    rank = (tubelet + frame[:, None] + 1 + offsets[:, None, None]) % CELL

    # Tile the frames with cells.
    cells = (rank >= num_skipped).reshape(len(offsets), grid.frames, 2, 2)
    return np.tile(cells, (1, 1, grid.height // 2, grid.width // 2)).reshape(
        len(offsets), grid.num_tokens
    )
