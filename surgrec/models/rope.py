"""Rotary positions in three dimensions, as V-JEPA 2 and 2.1 have them."""

from typing import Literal, TypeAlias

import torch
from einops import rearrange, repeat
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from surgrec.masks import TubeletGrid
from surgrec.models.tokens import token_places

RopeVariant: TypeAlias = Literal["tiled", "interleaved"]

_BASE = 10000.0


def rope_table(
    grid: TubeletGrid, head_dim: int, variant: RopeVariant, side: int | None = None
) -> Float32[Tensor, "n two_head_dim"]:
    """Sines, then cosines, of every token of the grid.

    A third of the head's channels, cut down to an even number, turns with each of time, height and width; channels left
    over do not turn. Channels 2i and 2i+1 make a pair. `tiled` is V-JEPA 2's published layout, in which the two channels
    of a pair have different frequencies; its weights, and Hugging Face's model, need it. `interleaved` gives both the same
    frequency, a proper rotation (V-JEPA 2.1).

    Args:
        grid: Grid of the clips.
        head_dim: Channels of an attention head.
        variant: Layout of the channels.
        side: Tubelets that rows and columns are scaled to, so that a frame of any size spans the same angles, as
            V-JEPA 2.1 does; None counts them as they are.

    Source: V-JEPA 2, arXiv:2506.09985, section 2.1.
    """
    axis_dim = 2 * (head_dim // 3 // 2)
    places = token_places(grid).float()
    if side is not None:
        places = places * torch.tensor(
            [1.0, (side - 1) / (grid.height - 1), (side - 1) / (grid.width - 1)]
        )
    frequencies = _BASE ** -(torch.arange(axis_dim // 2) / (axis_dim / 2))
    angles = rearrange(places, "n a -> n a 1") * frequencies
    layout = "n a f -> n (a two f)" if variant == "tiled" else "n a f -> n (a f two)"
    angles = repeat(angles, layout, two=2)
    still = torch.zeros(grid.num_tokens, head_dim - 3 * axis_dim)
    angles = torch.cat([angles, still], dim=-1)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class RotaryPositions(nn.Module):
    """The table of one grid, computed once in float32 and looked up by token id."""

    table: Float32[Tensor, "n two_head_dim"]

    def __init__(
        self, grid: TubeletGrid, head_dim: int, variant: RopeVariant, side: int | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("table", rope_table(grid, head_dim, variant, side), persistent=False)

    def forward(self, index: Int64[Tensor, "b k"] | None) -> Float32[Tensor, "#b 1 k two_head_dim"]:
        """Sines and cosines of these tokens, of all tokens for None, with an axis for the heads."""
        rows = rearrange(self.table, "n r -> 1 n r") if index is None else self.table[index]
        return rearrange(rows, "b k r -> b 1 k r")
