"""Signs of collapse in an encoder's features. A JEPA loss can fall because its targets have become easy; these tell.

A rising loss is normal, since targets get richer. A falling loss with a falling `token_std` or `rankme` is collapse.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Float
from torch import Tensor

MAX_RANK_TOKENS = 2048
"""Tokens whose singular values are computed; their cost grows with the square."""


def collapse_diagnostics(tokens: Float[Tensor, "b n d"]) -> dict[str, float]:
    """All diagnostics of this file, by name.

    Args:
        tokens: Output of the encoder (of a JEPA, the target encoder) for some clips, before any layer norm of the objective.
    """
    return {
        "token_std": float(token_std(tokens)),
        "between_clip_variance": float(between_clip_variance_ratio(tokens)),
        "rankme": float(rankme(_some_tokens(tokens))),
    }


@torch.no_grad()
def token_std(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, ""]:
    """Standard deviation over all tokens, averaged over channels. Towards 0: every token is the same."""
    flat = rearrange(tokens.float(), "b n d -> (b n) d")
    return flat.std(dim=0, correction=0).mean()


@torch.no_grad()
def between_clip_variance_ratio(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, ""]:
    """Variance of the clips' mean tokens over the variance of all tokens, in [0, 1]. Towards 0: clips look the same."""
    tokens = tokens.float()
    clip_means = reduce(tokens, "b n d -> b d", "mean")
    total = rearrange(tokens, "b n d -> (b n) d").var(dim=0, correction=0).sum()
    return clip_means.var(dim=0, correction=0).sum() / total.clamp_min(
        torch.finfo(torch.float32).tiny
    )


@torch.no_grad()
def rankme(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """The effective rank: exp of the entropy of the normalized singular values, from 1 to min(n, d); NaN if one feature is.

    Source: RankMe, arXiv:2210.02885, with its epsilon of 1e-7.
    """
    if not features.isfinite().all():
        return features.new_tensor(float("nan"))
    singular = torch.linalg.svdvals(features.float())
    share = singular / singular.sum() + 1e-7
    return torch.exp(-(share * share.log()).sum())


def _some_tokens(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "m d"]:
    """At most `MAX_RANK_TOKENS` tokens, evenly spread over clips and places."""
    flat = rearrange(tokens, "b n d -> (b n) d")
    stride = -(-len(flat) // MAX_RANK_TOKENS)
    return flat[::stride]
