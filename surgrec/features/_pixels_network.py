"""The pixels of a window as its feature: a baseline without weights."""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.encoders import Preset


class PixelsNetwork(nn.Module):
    """The mean picture of a clip, and the mean change from each frame to the next.

    A picture is as small as the preprocessing makes it, so the feature has the colors and the
    motion of the parts of the view, and no detail.

    Args:
        preset: States the pixels of the input.
    """

    blocks: tuple[nn.Module, ...] = ()

    def __init__(self, preset: Preset) -> None:
        super().__init__()
        self.width = 2 * 3 * preset.preprocessing.size_px**2

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 1 d"]:
        """Return one token per clip: the mean picture, then the mean absolute change."""
        num_changes = max(1, clips.shape[2] - 1)  # a single frame has a change of 0
        change = clips.diff(dim=2).abs().sum(2) / num_changes
        both = torch.stack([clips.mean(2), change], dim=1)
        return rearrange(both, "b part c h w -> b 1 (part c h w)")
