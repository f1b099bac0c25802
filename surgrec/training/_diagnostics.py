"""Signs of collapse in an encoder's features, and other numbers about a step.

A JEPA's loss can fall because its targets became easy, so the loss alone does not show collapse.
A rising loss is normal, since targets get richer. A falling loss with a falling `token_std` or
`rankme` is collapse.
"""

import torch
from einops import rearrange, reduce
from jaxtyping import Float, Float32
from torch import Tensor

from surgrec.training._sharding import whole

MAX_RANK_TOKENS = 512
"""Largest number of tokens in `rankme`. Its cost grows with the number of tokens and with the cube
of the smaller of this number and the width."""


def collapse_diagnostics(tokens: Float[Tensor, "b n d"]) -> dict[str, float]:
    """Return `token_std` and `rankme` of some clips, and `between_clip_variance` of several.

    Args:
        tokens: Output of the encoder (of a JEPA, the target encoder), before any layer norm of
            the objective.
    """
    signs = {"token_std": token_std(tokens), "rankme": rankme(_some_tokens(tokens))}
    if len(tokens) > 1:
        signs["between_clip_variance"] = between_clip_variance_ratio(tokens)
    return {name: float(sign) for name, sign in signs.items()}


@torch.no_grad()
def update_ratio(optimizer: torch.optim.Optimizer) -> Float32[Tensor, ""]:
    """Return the norm of AdamW's last update, without weight decay, over the norm of the weights.

    Usual values are around 1e-3. It is computed from the moments, tensor by tensor, so it needs the
    memory of one tensor, and does not wait for the device. A collective, if they are sharded.
    """
    updates, weights = [], []
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            weights.append(whole(torch.linalg.vector_norm(parameter)))
            if state := optimizer.state.get(parameter):
                mean = state["exp_avg"] / (1 - beta1 ** state["step"])
                root = (state["exp_avg_sq"] / (1 - beta2 ** state["step"])).sqrt_()
                update = mean.div_(root.add_(group["eps"]))
                updates.append(group["lr"] * whole(torch.linalg.vector_norm(update)))
    if not updates:
        return torch.zeros(())
    norms: list[Tensor] = [torch.linalg.vector_norm(torch.stack(x)) for x in (updates, weights)]
    return norms[0] / norms[1]


@torch.no_grad()
def token_std(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, ""]:
    """Return the standard deviation over all tokens, averaged over channels.

    Near 0, all tokens are equal.
    """
    flat = rearrange(tokens.float(), "b n d -> (b n) d")
    return flat.std(dim=0, correction=0).mean()


@torch.no_grad()
def between_clip_variance_ratio(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, ""]:
    """Return the variance of the clips' mean tokens over that of all tokens, in [0, 1].

    Near 0, all clips look the same.
    """
    tokens = tokens.float()
    clip_means = reduce(tokens, "b n d -> b d", "mean")
    between = clip_means.var(dim=0, correction=0).sum()
    total = rearrange(tokens, "b n d -> (b n) d").var(dim=0, correction=0).sum()
    return between / total.clamp_min(torch.finfo(torch.float32).tiny)


@torch.no_grad()
def rankme(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Return the effective rank, from 1 to min(n, d), or NaN if a feature is not finite.

    It is exp of the entropy of the normalized singular values. Source: RankMe, arXiv:2210.02885,
    with its epsilon of 1e-7.

    The singular values are the roots of the eigenvalues of the Gram matrix, whose side is the
    smaller of n and d. It costs a fraction of a singular value decomposition. Its squares are
    computed in float64, so values down to 1e-7 of the largest one count.
    """
    if not features.isfinite().all():
        return features.new_tensor(float("nan"))
    wide = features.double()
    gram = wide.T @ wide if wide.shape[0] > wide.shape[1] else wide @ wide.T
    singular = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt().float()
    share = singular / singular.sum() + 1e-7
    return torch.exp(-(share * share.log()).sum())


def _some_tokens(tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "m d"]:
    """Return at most `MAX_RANK_TOKENS` tokens, evenly spread over clips and token indices."""
    flat = rearrange(tokens, "b n d -> (b n) d")
    stride = -(-len(flat) // MAX_RANK_TOKENS)
    return flat[::stride]
