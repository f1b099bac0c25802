"""AdamW with the parameter groups, schedules and clipping of the published recipes."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.ranges import Range, check_ranges
from surgrec.training._sharding import whole
from surgrec.training.schedule import ScheduleConfig, schedule_value

VJEPA2_LR = ScheduleConfig(value=5.25e-4, start=1e-4, warmup_steps=12_000)
VJEPA2_WEIGHT_DECAY = ScheduleConfig(value=0.04)


Beta: TypeAlias = Annotated[float, Range(0, 1, below=True)]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedules. Defaults are those of V-JEPA 2's published pretraining configs."""

    lr: Annotated[ScheduleConfig, Range(0, 1000)] = VJEPA2_LR
    """Learning rate."""

    weight_decay: Annotated[ScheduleConfig, Range(0, 100)] = VJEPA2_WEIGHT_DECAY
    """Weight decay; biases and norms are not decayed."""

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""

    eps: Annotated[float, Range(0, 1)] = 1e-8
    """Term that is added to the root of the mean square."""

    grad_clip: Annotated[float, Range(0, 10**9, above=True)] | None = None
    """Largest norm of the gradient; None disables clipping."""

    grad_clip_each: bool = False
    """Clip encoder and predictor (or decoder) separately, each by its norm, as V-JEPA 1 does."""

    grad_clip_start: Annotated[int, Range(0, 10**9)] = 0
    """First step that clips; V-JEPA 1 starts at the end of its warm-up."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.grad_clip is None and (self.grad_clip_each or self.grad_clip_start):
            raise ConfigError(
                f"grad_clip_each is {self.grad_clip_each} and grad_clip_start is "
                f"{self.grad_clip_start}, but grad_clip is None; give grad_clip, or remove the "
                "other two"
            )


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters, with the schedules' values at step 0.

    Matrices form a group with weight decay; biases, norms and other vectors one without.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]

    groups = [{"params": matrices, "decayed": True}, {"params": vectors, "decayed": False}]
    optimizer = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    set_step(optimizer, config, step=0)
    return optimizer


def set_step(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int) -> None:
    """Set the scheduled learning rate and weight decay of a step."""
    for group in optimizer.param_groups:
        group["lr"] = schedule_value(config.lr, step)
        group["weight_decay"] = (
            schedule_value(config.weight_decay, step) if group["decayed"] else 0.0
        )


def clip_gradients(module: nn.Module, config: OptimizerConfig, step: int) -> Float[Tensor, ""]:
    """Clip gradients if `grad_clip` applies at this step; return the whole norm before clipping."""
    norm = _gradient_norm(module)
    if config.grad_clip is not None and step >= config.grad_clip_start:
        for part in module.children() if config.grad_clip_each else [module]:
            nn.utils.clip_grads_with_norm_(
                part.parameters(), config.grad_clip, _gradient_norm(part)
            )
    return norm


def skip_unless_finite(
    optimizer: torch.optim.Optimizer, gradient_norm: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Let the next step of the optimizer change nothing if the gradient is not finite.

    AdamW then keeps parameters, moments and its count of steps. The device decides, so no rank
    waits for it.

    Args:
        optimizer: From `build_optimizer`.
        gradient_norm: Norm of the whole gradient.

    Returns:
        1 if the step is applied, 0 if it is skipped; on the device.
    """
    applied = gradient_norm.isfinite().float()
    optimizer.found_inf = 1.0 - applied  # type: ignore[attr-defined]  # read by fused AdamW
    return applied


def _gradient_norm(module: nn.Module) -> Float[Tensor, ""]:
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return whole(nn.utils.get_total_norm(gradients))
