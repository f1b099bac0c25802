"""VideoMAE's tube mask: the same places are hidden in all frames, so that no neighbor in time gives them away."""

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.masks.grid import TubeletGrid
from surgrec.masks.multiblock import Masks
from surgrec.masks.random_source import uniforms
from surgrec.masks.running_cell import CELL, decoded_tokens

_TUBES, _CELLS = 0, 1


def tube_masks(
    grid: TubeletGrid,
    ratio: float,
    *,
    seed: int,
    positions: Int64[np.ndarray, " b"],
    decoder_ratio: float = 0.0,
    views: int = 1,
) -> Masks:
    """The masks of the samples at these positions: what is visible as context, what is predicted as target.

    Each row is a function of grid, ratios, seed, its position and its view alone. All rows have the same lengths.

    Args:
        grid: Grid of the clips.
        ratio: Share of the places of a frame that is hidden; rounded down to whole tubelets.
        seed: Seed of the run.
        positions: Global positions of the batch's samples.
        decoder_ratio: Share of the tokens that is not decoded, as VideoMAE v2 has it; 0 decodes and predicts all that is
            hidden, as VideoMAE does.
        views: Rows of each sample, next to each other.

    Raises:
        ConfigError: These ratios hide nothing, or everything, of this grid.

    Source: VideoMAE, arXiv:2203.12602, section 3.3; 0.9 hides 176 of 196 places.
    """
    num_places = grid.height * grid.width
    num_hidden = int(ratio * num_places)
    if not 0 < num_hidden < num_places:
        raise ConfigError(
            f"mask_ratio {ratio} hides {num_hidden} of the {grid.height} x {grid.width} tubelets of a frame; some must be "
            "hidden and some visible: change the ratio, or take larger clips"
        )
    clips = [(position, view) for position in positions.tolist() for view in range(views)]
    draws = np.stack(
        [uniforms(seed, position, _TUBES, view)(num_places) for position, view in clips]
    )
    places = np.argsort(draws, axis=1, kind="stable")
    visible, hidden = _tubes(grid, places[:, num_hidden:]), _tubes(grid, places[:, :num_hidden])
    if not decoder_ratio:
        return Masks(context_index=visible, target_index=hidden)
    pointers = np.array(
        [int(CELL * uniforms(seed, position, _CELLS, view)(1)[0]) for position, view in clips]
    )
    decoded = decoded_tokens(grid, decoder_ratio, pointers)
    return Masks(
        context_index=visible,
        target_index=_among(hidden, decoded),
        unscored_index=_among(visible, decoded),
    )


def _tubes(grid: TubeletGrid, places: Int64[np.ndarray, "b p"]) -> Int64[np.ndarray, "b k"]:
    """Ids of the tokens at these places in every tubelet along time, ascending."""
    frames = np.arange(grid.frames) * (grid.height * grid.width)
    tubes = frames[:, None] + np.sort(places, axis=1)[:, None, :]
    return np.asarray(tubes.reshape(len(places), -1), dtype=np.int64)


def _among(
    index: Int64[np.ndarray, "b k"], chosen: Bool[np.ndarray, "b n"]
) -> Int64[np.ndarray, "b m"]:
    """The ids that are chosen: of a tube equally many, wherever it stands, so that rows have one length."""
    return np.asarray(index[np.take_along_axis(chosen, index, axis=1)].reshape(len(index), -1))
