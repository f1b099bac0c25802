"""Activation checkpointing: less memory for activations, for a part of the forward pass again."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import (
    CheckpointPolicy,
    checkpoint,
    create_selective_checkpoint_contexts,
)

ActivationCheckpointing: TypeAlias = Literal["none", "selective", "full"]

_aten = torch.ops.aten
_KEPT = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_cudnn_attention.default,
    }
)
"""Operations whose results `selective` keeps: those that cost most to compute again."""


def checkpointed(
    forward: Callable[..., Tensor], kept: ActivationCheckpointing, *inputs: Tensor | None
) -> Tensor:
    """Return `forward(*inputs)`, whose backward pass computes activations again.

    Results and gradients are those of the plain call. Without gradients it is the plain call.

    Args:
        forward: A function without random numbers.
        kept: `none` keeps all activations, `full` the inputs only. `selective` also keeps the
            results of matrix products and attention.
        inputs: Its arguments.
    """
    if kept == "none" or not torch.is_grad_enabled():
        return forward(*inputs)
    options: dict[str, Any] = {}
    if kept == "selective":
        options["context_fn"] = partial(create_selective_checkpoint_contexts, _policy)
        forward = partial(_without_cached_weights, forward)
    result: Tensor = checkpoint(
        forward, *inputs, use_reentrant=False, preserve_rng_state=False, **options
    )
    return result


def _without_cached_weights(forward: Callable[..., Tensor], *inputs: Tensor | None) -> Tensor:
    """Return `forward(*inputs)`, which rounds its weights itself.

    Autocast keeps rounded weights for the next call. A second call on the same block, such as that
    of a second mask, would then have fewer operations than its recomputation.
    """
    device = next(tensor for tensor in inputs if tensor is not None).device.type
    dtype, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    with torch.autocast(device, dtype=dtype, enabled=enabled, cache_enabled=False):
        return forward(*inputs)


def _policy(context: Any, operation: Any, *arguments: Any, **options: Any) -> CheckpointPolicy:
    if operation in _KEPT:
        return CheckpointPolicy.MUST_SAVE
    return CheckpointPolicy.PREFER_RECOMPUTE
