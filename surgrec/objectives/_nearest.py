"""The nearest token of a set, for every tubelet of a grid."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float32, Int64
from torch import Tensor

from surgrec.masks import TubeletGrid


def nearest_tokens(
    grid: TubeletGrid, index: Int64[Tensor, "b k"], others: Int64[Tensor, "b m"]
) -> tuple[Float32[Tensor, "b k"], Int64[Tensor, "b k"]]:
    """Return squared distance and id of the nearest of other tokens, for each token.

    Distances are in tubelets of time, height and width. Of several nearest tokens, any one counts.

    Args:
        grid: Grid of the clips.
        index: Ids of the tokens of each clip.
        others: Ids of the other tokens of each clip, at least one.
    """
    is_other = torch.zeros(len(others), grid.num_tokens, dtype=torch.bool, device=others.device)
    is_other = is_other.scatter(1, others, True)
    is_other = rearrange(is_other, "b (t h w) -> b t h w", t=grid.frames, h=grid.height)

    squared, nearest = (
        rearrange(each, "b t h w -> b (t h w)") for each in nearest_of_all(is_other)
    )
    return squared.gather(1, index), nearest.gather(1, index)


def nearest_of_all(
    is_other: Bool[Tensor, "b t h w"],
) -> tuple[Float32[Tensor, "b t h w"], Int64[Tensor, "b t h w"]]:
    """Return the exact squared distance and the id of the nearest other token of every tubelet.

    The distance is infinite for clips without others. The minimum is taken axis by axis, which
    avoids a matrix of all pairs.
    """
    squared = torch.where(is_other, 0.0, torch.inf)
    ids = torch.arange(is_other[0].numel(), device=is_other.device)
    nearest = ids.view(is_other.shape[1:]).expand(is_other.shape)
    for axis in (1, 2, 3):
        indices = torch.arange(squared.shape[axis], device=squared.device)
        gaps = (rearrange(indices, "i -> i 1") - indices) ** 2
        sums = rearrange(squared.movedim(axis, -1), "... j -> ... 1 j") + gaps
        least, places = sums.min(dim=-1)
        nearest = nearest.movedim(axis, -1).gather(-1, places).movedim(-1, axis)
        squared = least.movedim(-1, axis)
    return squared, nearest
