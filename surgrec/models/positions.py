"""Fixed sinusoidal positions, as VideoMAE adds them to its tokens."""

import torch
from einops import rearrange
from jaxtyping import Float32, Int64
from torch import Tensor, nn

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


class SinusoidPositions(nn.Module):
    """The table of one grid, computed once and looked up by token id; no weights."""

    table: Float32[Tensor, "n d"]

    def __init__(self, num_tokens: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoid_table(num_tokens, width), persistent=False)

    def forward(self, index: Int64[Tensor, "b k"] | None = None) -> Float32[Tensor, "#b k d"]:
        """The rows of these tokens, of all tokens for None."""
        return rearrange(self.table, "n d -> 1 n d") if index is None else self.table[index]
