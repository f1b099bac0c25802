"""Show features as colors: similar tokens have similar colors."""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float, Float64
from torch import Tensor

from surgrec.masks import TubeletGrid

_CUT = 0.02
"""Share of the tokens at each end of a component that get its darkest or its brightest color."""


@dataclass(frozen=True, kw_only=True)
class TokenColors:
    """The tokens of some clips as small pictures."""

    pictures: Float[Tensor, "b t c h w"]
    """RGB in [0, 1], one pixel for each token."""
    explained: float
    """Share of the tokens' variance that the three components hold, in [0, 1]."""


@torch.no_grad()
def token_colors(tokens: Float[Tensor, "b n d"], grid: TubeletGrid) -> TokenColors:
    """Map the first three principal components over the tokens of all clips to red, green and blue.

    Each component is scaled from its 2nd to its 98th percentile, so that a few outliers do not
    darken the other tokens.

    Args:
        tokens: Output of an encoder with at least 3 channels.
        grid: Token grid of one clip.
    """
    components, explained = principal_components(rearrange(tokens, "b n d -> (b n) d"), 3)

    # Scale to [0, 1]. Collapsed tokens have no range and become black.
    low, high = torch.quantile(components, _CUT, dim=0), torch.quantile(components, 1 - _CUT, dim=0)
    tiny = torch.finfo(torch.float64).tiny
    scaled = ((components - low) / (high - low).clamp_min(tiny)).clamp(0, 1)

    size = {"b": len(tokens), "t": grid.frames, "h": grid.height, "w": grid.width}
    pictures = rearrange(scaled.float(), "(b t h w) c -> b t c h w", **size)
    return TokenColors(pictures=pictures, explained=explained)


def principal_components(
    features: Float[Tensor, "n d"], count: int
) -> tuple[Float64[Tensor, "n count"], float]:
    """Return features along the `count` directions of largest variance.

    The sign of a direction is arbitrary. Its largest entry is made positive, so that colors do not
    flip between runs.

    Returns:
        The components, largest variance first, and the share of the variance that they hold.
    """
    centered = features.double() - features.double().mean(dim=0)

    # eigh sorts in ascending order.
    variances, directions = torch.linalg.eigh(centered.T @ centered)
    directions = directions[:, -count:].flip(1)
    largest = directions.abs().argmax(dim=0, keepdim=True)
    signs = torch.gather(directions, 0, largest).sign()

    total = variances.sum().clamp_min(torch.finfo(torch.float64).tiny)
    return centered @ (directions * signs), float(variances[-count:].sum() / total)
