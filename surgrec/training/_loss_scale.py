"""fp16 for GPUs without bf16: the choice, and the scale of the loss that its gradients need."""

from typing import Literal, TypeAlias

import torch
from accelerate.utils import parse_flag_from_env
from jaxtyping import Float, Float32
from torch import Tensor, nn

from surgrec.training._sharding import local

RunPrecision: TypeAlias = Literal["no", "bf16", "fp16"]

_BF16_CAPABILITY = (8, 0)
"""First CUDA compute capability with bf16 products (Ampere). V100 has 7.0, T4 7.5."""
_START, _GROWTH, _BACKOFF, _GROWTH_STEPS = 2.0**12, 2.0, 0.5, 2000
"""Values of `torch.amp.GradScaler`, but it starts at 2^16: each halving skips a step, and a run may
skip few."""


def cuda_capability() -> tuple[int, int] | None:
    """Return the compute capability of the GPU that this process may use; None: it uses none."""
    if not torch.cuda.is_available() or parse_flag_from_env("ACCELERATE_USE_CPU"):
        return None
    return torch.cuda.get_device_capability()


def usable_precision(asked: RunPrecision, capability: tuple[int, int] | None) -> RunPrecision:
    """Return the precision to compute in: the one that was asked for, or fp16 if bf16 is missing.

    Args:
        asked: Precision of the config.
        capability: CUDA compute capability of this process's GPU; None on a CPU, which has bf16.
    """
    if asked == "bf16" and capability is not None and capability < _BF16_CAPABILITY:
        return "fp16"
    return asked


class LossScale(nn.Module):
    """The factor of the loss that keeps small fp16 gradients from becoming 0.

    It halves after a step whose gradient is not finite, which is skipped, and doubles after 2,000
    applied steps in a row. No step waits for the device. A checkpoint saves it as a module.

    Source: Micikevicius et al. 2018, arXiv:1710.03740, section 3.2.
    """

    scale: Float32[Tensor, ""]
    applied_in_a_row: Float32[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(_START))
        self.register_buffer("applied_in_a_row", torch.tensor(0.0))

    @torch.no_grad()
    def unscale(self, module: nn.Module) -> None:
        """Divide the gradients of a module by the scale, once per step."""
        gradients: list[Tensor] = [
            local(parameter.grad) for parameter in module.parameters() if parameter.grad is not None
        ]
        torch._foreach_mul_(gradients, 1.0 / self.scale)

    @torch.no_grad()
    def update(self, applied: Float[Tensor, ""]) -> None:
        """Set the scale of the next step.

        Args:
            applied: 1 if this step is applied, 0 if its gradient is not finite; on the device.
        """
        in_a_row = (self.applied_in_a_row + 1.0) * applied
        grows = (in_a_row >= _GROWTH_STEPS).float()
        self.scale.mul_((1.0 + grows * (_GROWTH - 1.0)) * (_BACKOFF + (1.0 - _BACKOFF) * applied))
        self.applied_in_a_row.copy_(in_a_row * (1.0 - grows))
