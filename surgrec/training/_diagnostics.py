"""Signs of collapse in an encoder's features, and other numbers about a step.

A JEPA's loss can fall because its targets became easy, so the loss alone does not show collapse.
A rising loss is normal, since targets get richer. A falling loss with a falling `token_std` or
`rankme` is collapse.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from einops import rearrange
from jaxtyping import Float, Float32
from torch import Tensor

from surgrec.training._sharding import whole

DIAGNOSIS_EVERY = 20
"""Of so many steps, at most one is diagnosed, so that this takes less than 1 % of the time."""
MAX_RANK_TOKENS = 4096
"""Largest number of tokens in `rankme`, over all parts and ranks; RankMe (arXiv:2210.02885) needs
more than the width."""
_GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_CLIPS = 8
"""Largest number of clips per part and rank."""


@dataclass(kw_only=True)
class CollapseSigns:
    """Signs of collapse in the features of one step, over all its parts and ranks.

    `token_std` is the standard deviation over all tokens, averaged over channels; near 0, all
    tokens are equal. `between_clip_variance` is the variance of the clips' mean tokens over that of
    all tokens, in [0, 1]; near 0, all clips look the same. `rankme` is the effective rank of some
    tokens.
    """

    width: int
    """Width of the encoder. Of several levels, the last one counts, the encoder's output."""
    num_ranks: int
    """Ranks, which share `MAX_RANK_TOKENS`."""
    _tokens: list[Float32[Tensor, "m d"]] = field(default_factory=list)
    _means: list[Float32[Tensor, "b d"]] = field(default_factory=list)
    _variances: list[Float32[Tensor, "b d"]] = field(default_factory=list)

    @torch.no_grad()
    def note(self, features: Float[Tensor, "b n e"], *, parts: int) -> None:
        """Keep what the signs need of the features of a part, without waiting for the device.

        Args:
            features: Output of the encoder (of a JEPA, the target encoder), before any layer norm
                of the objective. The first clips count.
            parts: Parts that are noted in one step.
        """
        features = features[:_CLIPS, :, -self.width :].float()
        variance, mean = torch.var_mean(features, dim=1, correction=0)
        self._means.append(mean)
        self._variances.append(variance)
        self._tokens.append(
            some_tokens(features, max(1, MAX_RANK_TOKENS // (parts * self.num_ranks)))
        )

    @torch.no_grad()
    def take(
        self, gather: Callable[[Tensor], Tensor] = lambda each: each, *, compute: bool = True
    ) -> dict[str, float]:
        """Return the signs in the noted features, and forget those. A collective.

        Args:
            gather: Concatenates the tensors of all ranks, which have one shape.
            compute: Whether this rank computes the signs; otherwise, they are empty.

        Returns:
            The signs; `between_clip_variance` only of several clips. Empty if nothing was noted.
        """
        if not self._tokens:
            return {}
        tokens, means, variances = (
            gather(torch.cat(each)) for each in (self._tokens, self._means, self._variances)
        )
        self._tokens, self._means, self._variances = [], [], []
        if not compute:
            return {}

        # All clips have as many tokens, so their variances within and between add up.
        between = means.var(dim=0, correction=0)
        total = variances.mean(dim=0) + between
        signs = {"token_std": total.sqrt().mean(), "rankme": rankme(tokens)}
        if len(means) > 1:
            least = torch.finfo(torch.float32).tiny
            signs["between_clip_variance"] = between.sum() / total.sum().clamp_min(least)
        return {name: float(sign) for name, sign in signs.items()}


@torch.no_grad()
def update_ratio(optimizer: torch.optim.Optimizer) -> Float32[Tensor, ""]:
    """Return the norm of AdamW's last update, without weight decay, over the norm of the weights.

    Usual values are around 1e-3; it is 0 before the first applied step. It is computed from the
    moments, tensor by tensor, so it needs the memory of one tensor, and does not wait for the
    device. A collective, if they are sharded.
    """
    updates, weights = [], []
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            weights.append(whole(torch.linalg.vector_norm(parameter)))
            if state := optimizer.state.get(parameter):
                # A skipped first step leaves moments of 0 and a count of 0, which would divide.
                count = state["step"].clamp_min(1)
                mean = state["exp_avg"] / (1 - beta1**count)
                root = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_()
                update = mean.div_(root.add_(group["eps"]))
                updates.append(group["lr"] * whole(torch.linalg.vector_norm(update)))
    if not updates:
        return torch.zeros(())
    norms: list[Tensor] = [torch.linalg.vector_norm(torch.stack(x)) for x in (updates, weights)]
    return norms[0] / norms[1]


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


def some_tokens(tokens: Float32[Tensor, "b n d"], most: int) -> Float32[Tensor, "m d"]:
    """Return so many tokens, or all if there are fewer, spread over clips and positions.

    Args:
        tokens: Tokens of some clips.
        most: Largest number.
    """
    flat = rearrange(tokens, "b n d -> (b n) d")
    count = len(flat)
    if count <= most:
        return flat

    # Steps of the golden ratio spread any number of tokens. A stride without a common divisor comes
    # to no token twice, and to all columns of a grid alike.
    stride = round(_GOLDEN_RATIO * count)
    while math.gcd(stride, count) > 1:
        stride += 1
    return flat[torch.arange(most, device=flat.device) * stride % count]
