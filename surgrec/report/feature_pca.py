"""Features as colors: alike tokens, alike colors."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Float64
from torch import Tensor

from surgrec.masks import TubeletGrid

_CUT = 0.02
"""Share of the tokens at either end of a component that is shown as its darkest or its brightest."""


@dataclass(frozen=True, kw_only=True)
class TokenColors:
    """The tokens of some clips as small pictures."""

    pictures: Float[Tensor, "b t c h w"]
    """RGB in [0, 1], a pixel for each token."""
    explained: float
    """Share of the tokens' variance that the three components hold, in [0, 1]."""


@torch.no_grad()
def token_colors(tokens: Float[Tensor, "b n d"], grid: TubeletGrid) -> TokenColors:
    """The first three principal components over the tokens of all clips as red, green and blue.

    Each component is scaled from its 2nd to its 98th percentile, so that a few odd tokens do not darken the others.

    Args:
        tokens: Of at least 3 channels.
        grid: Of each clip.
    """
    components, explained = principal_components(rearrange(tokens, "b n d -> (b n) d"), 3)
    low, high = torch.quantile(components, _CUT, dim=0), torch.quantile(components, 1 - _CUT, dim=0)
    scaled = ((components - low) / (high - low).clamp_min(torch.finfo(torch.float64).tiny)).clamp(
        0, 1
    )
    pictures = rearrange(
        scaled.float(),
        "(b t h w) c -> b t c h w",
        b=len(tokens),
        t=grid.frames,
        h=grid.height,
        w=grid.width,
    )
    return TokenColors(pictures=pictures, explained=explained)


def principal_components(
    features: Float[Tensor, "n d"], count: int
) -> tuple[Float64[Tensor, "n count"], float]:
    """Features along the `count` directions of their largest variance, and the share of the variance that these hold.

    A direction's sign is free: it is the one whose largest entry is positive, so that pictures do not flip.
    """
    centered = features.double() - features.double().mean(dim=0)
    variances, directions = torch.linalg.eigh(centered.T @ centered)  # ascending
    directions = directions[:, -count:].flip(1)
    signs = torch.gather(directions, 0, directions.abs().argmax(dim=0, keepdim=True)).sign()
    explained = variances[-count:].sum() / variances.sum().clamp_min(
        torch.finfo(torch.float64).tiny
    )
    return centered @ (directions * signs), float(explained)
