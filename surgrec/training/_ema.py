"""The exponential moving average (EMA) of a module's weights: a JEPA's target encoder."""

import copy
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.training._sharding import local

ModuleType = TypeVar("ModuleType", bound=nn.Module)


def ema_copy(module: ModuleType) -> ModuleType:
    """Return a copy without gradients, for `update_ema`."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_ema(
    target: nn.Module,
    source: nn.Module,
    momentum: float,
    applied: Float[Tensor, ""] | None = None,
) -> None:
    """Update the average: target = momentum * target + (1 - momentum) * source.

    Args:
        target: A copy from `ema_copy`, in float32: bf16 rounds each update of a momentum of
            0.99925 away.
        source: The module that was copied, not its DDP wrapper. It is sharded if the target is.
        momentum: From 0, which copies the source, to 1, which keeps the target.
        applied: 1, or 0 to keep the target because the step of the source was skipped; on the
            device, from `Run.skip_unless_finite`. None: 1.
    """
    averaged: list[Tensor] = [local(parameter) for parameter in target.parameters()]
    current: list[Tensor] = [local(parameter) for parameter in source.parameters()]
    assert len(averaged) == len(current), "the target is not a copy of the source"
    assert all(parameter.dtype == torch.float32 for parameter in averaged), (
        "the target must be float32; smaller types round the updates away"
    )
    if applied is None:
        torch._foreach_lerp_(averaged, current, 1.0 - momentum)
    else:
        weight = applied * (1.0 - momentum)
        torch._foreach_lerp_(averaged, current, [weight] * len(averaged))
