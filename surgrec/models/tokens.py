"""Embed clips as tokens, and select tokens by id."""

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.masks import TubeletGrid

NUM_CHANNELS = 3
"""Red, green and blue."""


class TubeletEmbedding(nn.Module):
    """A linear map from the pixels of each tubelet to one token.

    Weights have the shape of a Conv3d, as in published checkpoints.
    """

    def __init__(
        self,
        width: int,
        tubelet_size: int = 2,
        patch_size: int = 16,
        num_channels: int = NUM_CHANNELS,
    ) -> None:
        super().__init__()
        tubelet = (tubelet_size, patch_size, patch_size)
        self.proj = nn.Conv3d(num_channels, width, kernel_size=tubelet, stride=tubelet)

    def forward(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return one token per tubelet, in the order of `TubeletGrid`'s token ids.

        Args:
            clip: Normalized frames.
            index: Ids of the tubelets to embed; others cost nothing. None: all tubelets.
        """
        # A matrix product instead of a convolution: cuDNN has no fast bf16 kernel for a Conv3d
        # whose stride equals its kernel (huggingface/transformers#45750), and the product is
        # deterministic.
        frames, height, width = self.proj.kernel_size
        pixels = rearrange(
            clip, "b c (t i) (h j) (w k) -> b (t h w) (c i j k)", i=frames, j=height, k=width
        )
        if index is not None:
            pixels = take_tokens(pixels, index)
        return F.linear(
            pixels, rearrange(self.proj.weight, "d c i j k -> d (c i j k)"), self.proj.bias
        )


def token_coordinates(grid: TubeletGrid) -> Int64[Tensor, "n 3"]:
    """Return each token's index along time, height and width, in the order of token ids."""
    ids = torch.arange(grid.num_tokens)
    return torch.stack(
        [ids // (grid.height * grid.width), ids // grid.width % grid.height, ids % grid.width],
        dim=-1,
    )


def take_tokens(
    tokens: Float[Tensor, "b n d"], index: Int64[Tensor, "b k"]
) -> Float[Tensor, "b k d"]:
    """Return the tokens with the given ids; each row has its own ids."""
    # Whole rows are copied at once. On a CPU, a gather finds each of their values by itself.
    num_clips, num_tokens, _ = tokens.shape
    first = torch.arange(num_clips, device=index.device) * num_tokens
    rows = rearrange(index + rearrange(first, "b -> b 1"), "b k -> (b k)")
    taken = rearrange(tokens, "b n d -> (b n) d").index_select(0, rows)
    return rearrange(taken, "(b k) d -> b k d", b=num_clips)


def ids_on_device(index: Int64[np.ndarray, "b k"], device: torch.device) -> Int64[Tensor, "b k"]:
    """Return token ids from `surgrec.masks` as a tensor on a device."""
    tensor = torch.from_numpy(index)
    if device.type == "cuda":
        # A copy from pageable memory would wait for all work in the queue.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
