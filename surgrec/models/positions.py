"""Fixed sinusoidal positions, which VideoMAE and V-JEPA 1 add to their tokens."""

import math
from typing import Literal, TypeAlias

import torch
from einops import rearrange
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, nn

from surgrec.masks import TubeletGrid
from surgrec.models.tokens import token_coordinates

SinusoidKind: TypeAlias = Literal["sincos", "sincos3d"]

TABLE_TOLERANCE = 1e-5
"""Largest difference between a stored table and a computed one that rounding explains."""

_BASE = 10000.0


def sinusoid_table(num_tokens: int, width: int) -> Float32[Tensor, "n d"]:
    """Return VideoMAE's flat positions: one row per token id.

    Even channels hold sines, odd channels cosines, with decreasing frequency. Positions count token
    ids; they do not separate time, height and width.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5. VideoMAE (arXiv:2203.12602) has one
    table of the encoder's width and one of the decoder's.
    """
    channels = torch.arange(width, dtype=torch.float64)
    frequencies = _BASE ** -(2 * (channels // 2) / width)
    angles = rearrange(torch.arange(num_tokens), "n -> n 1") * frequencies
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos()).float()


def sinusoid_table_3d(grid: TubeletGrid, width: int) -> Float32[Tensor, "n d"]:
    """Return V-JEPA 1's positions of time, height and width: one row per token id.

    Each axis has `2 * ceil(width / 6)` channels, first sines, then cosines. The three axes are
    concatenated in this order and cut to `width`.

    Source: V-JEPA 1, arXiv:2404.08471, section 4.1; equal shares are `uniform_power` in its
    published configs.
    """
    axis_width = 2 * math.ceil(width / 6)
    axes = [_axis_table(indices, axis_width) for indices in token_coordinates(grid).unbind(1)]
    return torch.cat(axes, dim=1)[:, :width].float()


def _axis_table(indices: Int64[Tensor, " n"], width: int) -> Float64[Tensor, "n d"]:
    """Return sines, then cosines, of indices along one axis."""
    frequencies = _BASE ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = rearrange(indices, "n -> n 1") * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SinusoidPositions(nn.Module):
    """The position table of one grid, looked up by token id. It has no weights."""

    table: Float32[Tensor, "n d"]

    def __init__(self, kind: SinusoidKind, grid: TubeletGrid, width: int) -> None:
        super().__init__()
        table = (
            sinusoid_table(grid.num_tokens, width)
            if kind == "sincos"
            else sinusoid_table_3d(grid, width)
        )
        self.register_buffer("table", table, persistent=False)

    def forward(self, index: Int64[Tensor, "b k"] | None = None) -> Float32[Tensor, "#b k d"]:
        """Return the positions of the given token ids, or of all tokens."""
        return rearrange(self.table, "n d -> 1 n d") if index is None else self.table[index]
