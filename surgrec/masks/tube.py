"""VideoMAE's tube mask: the same places are hidden in all frames, so that no neighbour in time gives them away."""

import numpy as np
from jaxtyping import Int64

from surgrec.errors import ConfigError
from surgrec.masks.draws import uniforms
from surgrec.masks.grid import TubeletGrid
from surgrec.masks.multiblock import Masks


def tube_masks(grid: TubeletGrid, ratio: float, *, seed: int, positions: Int64[np.ndarray, " b"]) -> Masks:
    """The masks of the samples at these positions: what is visible as context, what is hidden as target.

    Each row is a function of grid, ratio, seed and its position alone. All rows have the same lengths.

    Args:
        grid: Grid of the clips.
        ratio: Share of the places of a frame that is hidden; rounded down to whole tubelets.
        seed: Seed of the run.
        positions: Global positions of the batch's rows.

    Raises:
        ConfigError: This ratio hides nothing, or everything, of this grid.

    Source: VideoMAE, arXiv:2203.12602, section 3.3; 0.9 hides 176 of 196 places.
    """
    num_places = grid.height * grid.width
    num_hidden = int(ratio * num_places)
    if not 0 < num_hidden < num_places:
        raise ConfigError(
            f"mask_ratio {ratio} hides {num_hidden} of the {grid.height} x {grid.width} tubelets of a frame; some must be "
            "hidden and some visible: change the ratio, or take larger clips"
        )
    draws = np.stack([uniforms(seed, position, 0)(num_places) for position in positions.tolist()])
    places = np.argsort(draws, axis=1, kind="stable")
    return Masks(context_index=_tubes(grid, places[:, num_hidden:]), target_index=_tubes(grid, places[:, :num_hidden]))


def _tubes(grid: TubeletGrid, places: Int64[np.ndarray, "b p"]) -> Int64[np.ndarray, "b k"]:
    """Ids of the tokens at these places in every tubelet along time, ascending."""
    frames = np.arange(grid.frames) * (grid.height * grid.width)
    tubes = frames[:, None] + np.sort(places, axis=1)[:, None, :]
    return np.asarray(tubes.reshape(len(places), -1), dtype=np.int64)
