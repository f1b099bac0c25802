"""Fixed sinusoidal positions, as VideoMAE and V-JEPA 1 add them to their tokens."""

import math
from typing import Literal, TypeAlias

import torch
from einops import rearrange
from jaxtyping import Float32, Float64, Int64
from torch import Tensor, nn

from surgrec.masks import TubeletGrid
from surgrec.models.tokens import token_places

SinusoidKind: TypeAlias = Literal["sincos", "sincos3d"]

TABLE_TOLERANCE = 1e-5
"""How far a stored table may be from the one computed here: rounding explains as much."""

_BASE = 10000.0


def sinusoid_table(num_tokens: int, width: int) -> Float32[Tensor, "n d"]:
    """One row per token id: sines in the even channels, cosines in the odd ones, of falling frequency.

    The positions are flat: they count ids, and know neither time nor place.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.5; VideoMAE (arXiv:2203.12602) has one for its encoder's width
    and one for its decoder's.
    """
    channels = torch.arange(width, dtype=torch.float64)
    frequencies = _BASE ** -(2 * (channels // 2) / width)
    angles = rearrange(torch.arange(num_tokens), "n -> n 1") * frequencies
    return torch.where(channels % 2 == 0, angles.sin(), angles.cos()).float()


def sinusoid_table_3d(grid: TubeletGrid, width: int) -> Float32[Tensor, "n d"]:
    """One row per token id: a third of the channels each for time, height and width, in that order.

    Each axis has `2 * ceil(width / 6)` channels, sines and then cosines, and the last ones are cut off where they are more
    than the width.

    Source: V-JEPA 1, arXiv:2404.08471, section 4.1; the equal shares are `uniform_power` of its published configs.
    """
    axis_width = 2 * math.ceil(width / 6)
    axes = [_axis_table(places, axis_width) for places in token_places(grid).unbind(1)]
    return torch.cat(axes, dim=1)[:, :width].float()


def _axis_table(places: Int64[Tensor, " n"], width: int) -> Float64[Tensor, "n d"]:
    frequencies = _BASE ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angles = rearrange(places, "n -> n 1") * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class SinusoidPositions(nn.Module):
    """The table of one grid, computed once and looked up by token id; no weights."""

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
        """The rows of these tokens, of all tokens for None."""
        return rearrange(self.table, "n d -> 1 n d") if index is None else self.table[index]
