"""Rotary positions along time, height and width, as in V-JEPA 2 and 2.1."""

from typing import Literal, TypeAlias

import torch
from einops import rearrange, repeat
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from surgrec.masks import TubeletGrid
from surgrec.models.tokens import token_coordinates

RopeVariant: TypeAlias = Literal["tiled", "interleaved"]

_BASE = 10000.0


def rope_table(
    grid: TubeletGrid, head_dim: int, variant: RopeVariant, side: int | None = None
) -> Float32[Tensor, "n two_head_dim"]:
    """Return the sines, then the cosines, of the rotation angles of every token.

    Each of time, height and width rotates a third of the head's channels, rounded down to an even
    number. The remaining channels do not rotate. Channels 2i and 2i+1 form a pair.

    `tiled` is V-JEPA 2's published layout, in which the two channels of a pair have different
    frequencies. Its weights and Hugging Face's model need it. `interleaved` gives both channels the
    same frequency, which makes a proper rotation (V-JEPA 2.1).

    Args:
        grid: Grid of the clips.
        head_dim: Channels of an attention head.
        variant: Layout of the channels.
        side: Tubelets that rows and columns are scaled to, so that frames of every size span the
            same angles, as in V-JEPA 2.1. None: no scaling.

    Source: V-JEPA 2, arXiv:2506.09985, section 2.1.
    """
    axis_dim = 2 * (head_dim // 3 // 2)

    # Angles: coordinates (scaled to a common frame) times frequencies.
    coordinates = token_coordinates(grid).float()
    if side is not None:
        coordinates = coordinates * torch.tensor(
            [1.0, (side - 1) / (grid.height - 1), (side - 1) / (grid.width - 1)]
        )
    frequencies = _BASE ** -(torch.arange(axis_dim // 2) / (axis_dim / 2))
    angles = rearrange(coordinates, "n a -> n a 1") * frequencies

    # Lay the angles out over channels; the remaining channels have angle 0.
    layout = "n a f -> n (a two f)" if variant == "tiled" else "n a f -> n (a f two)"
    angles = repeat(angles, layout, two=2)
    unrotated = torch.zeros(grid.num_tokens, head_dim - 3 * axis_dim)
    angles = torch.cat([angles, unrotated], dim=-1)

    return torch.cat([angles.sin(), angles.cos()], dim=-1)


class RotaryPositions(nn.Module):
    """The rotation table of one grid, computed once in float32 and looked up by token id."""

    table: Float32[Tensor, "n two_head_dim"]

    def __init__(
        self, grid: TubeletGrid, head_dim: int, variant: RopeVariant, side: int | None = None
    ) -> None:
        super().__init__()
        self.register_buffer("table", rope_table(grid, head_dim, variant, side), persistent=False)

    def forward(self, index: Int64[Tensor, "b k"] | None) -> Float32[Tensor, "#b 1 k two_head_dim"]:
        """Return sines and cosines of the given token ids, or of all tokens, with a heads axis."""
        rows = rearrange(self.table, "n r -> 1 n r") if index is None else self.table[index]
        return rearrange(rows, "b k r -> b 1 k r")
