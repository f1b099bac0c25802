"""VideoMAE v2's mask of the decoder: which tokens are decoded at all."""

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks.grid import TubeletGrid

CELL = 4
"""Places of a cell of 2 x 2 tubelets, and tubelets along time after which its pattern comes again."""


def decoded_tokens(
    grid: TubeletGrid, ratio: float, pointers: Int64[np.ndarray, " b"]
) -> Bool[np.ndarray, "b n"]:
    """True where a token is decoded.

    Every frame of tubelets is paved with cells of 2 x 2 that look alike. Of a cell's four places, read row by row, a run of
    `int(4 * ratio)` is left out; the run moves on by one place with every tubelet along time.

    Args:
        grid: Grid of the clips.
        ratio: Share of the tokens that is not decoded.
        pointers: For each clip where the run lies, 0 to 3.

    Raises:
        ConfigError: The cells do not pave this grid, or this ratio leaves out none or all of a cell.

    Source: VideoMAE v2, arXiv:2303.16727, section 3.2; with half left out, 784 of 1568 tokens are decoded.
    """
    num_left_out = int(CELL * ratio)
    if not 0 < num_left_out < CELL:
        raise ConfigError(
            f"decoder_mask_ratio {ratio} leaves out {num_left_out} of the {CELL} places of a cell; give 0.25, 0.5 or 0.75"
        )
    if grid.frames % CELL or grid.height % 2 or grid.width % 2:
        raise ConfigError(
            f"A grid of {grid.frames} x {grid.height} x {grid.width} tubelets cannot be paved with cells of {CELL} x 2 x 2; "
            "set decoder_mask_ratio to 0, or take other clips"
        )
    place = np.arange(CELL)
    frame = np.arange(grid.frames)
    run = (
        place + frame[:, None] + 1 + pointers[:, None, None]
    ) % CELL  # b t place; below num_left_out lies in the run
    cells = (run >= num_left_out).reshape(len(pointers), grid.frames, 2, 2)
    return np.tile(cells, (1, 1, grid.height // 2, grid.width // 2)).reshape(
        len(pointers), grid.num_tokens
    )
