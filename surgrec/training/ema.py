"""The target encoder: a running mean of the context encoder's weights."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

from surgrec.training.schedule import ScheduleConfig

ModuleType = TypeVar("ModuleType", bound=nn.Module)

VJEPA2_MOMENTUM = ScheduleConfig(value=0.99925)


def ema_copy(module: ModuleType) -> ModuleType:
    """A copy that no gradient reaches, to be moved by `update_ema` alone."""
    return copy.deepcopy(module).requires_grad_(False)


@torch.no_grad()
def update_ema(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """Moves the target's weights towards the source's: target = momentum * target + (1 - momentum) * source.

    Args:
        target: From `ema_copy`. Float32: in bf16, a momentum of 0.99925 would round every step away.
        source: The module it was copied from, not its DDP wrapper.
        momentum: Between 0, which copies, and 1, which keeps.
    """
    averaged: list[Tensor] = list(target.parameters())
    current: list[Tensor] = list(source.parameters())
    assert len(averaged) == len(current), "the target is a copy of the source"
    assert all(parameter.dtype == torch.float32 for parameter in averaged), (
        "an average in less than float32 stands still"
    )
    torch._foreach_lerp_(averaged, current, 1.0 - momentum)
