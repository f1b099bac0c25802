"""AdamW as the published recipes run it."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.training.schedule import ScheduleConfig, schedule_value

VJEPA2_LR = ScheduleConfig(value=5.25e-4, start=1e-4, warmup_steps=12_000)
VJEPA2_WEIGHT_DECAY = ScheduleConfig(value=0.04)


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its schedules. Defaults are V-JEPA 2's pretraining, as its published configs have it."""

    lr: ScheduleConfig = VJEPA2_LR
    """Learning rate."""

    weight_decay: ScheduleConfig = VJEPA2_WEIGHT_DECAY
    """Of weights; biases and norms are not decayed."""

    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""

    eps: float = 1e-8
    """Added to the root of the mean square."""

    grad_clip: float | None = None
    """Largest norm of a module's gradient; None never clips."""


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters in two groups, decayed and not, with the values of step 0."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "decayed": True},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "decayed": False},
    ]
    optimizer = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    set_step(optimizer, config, step=0)
    return optimizer


def set_step(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int) -> None:
    """Sets the learning rate and the weight decay that the schedules give for this step."""
    for group in optimizer.param_groups:
        group["lr"] = schedule_value(config.lr, step)
        group["weight_decay"] = schedule_value(config.weight_decay, step) if group["decayed"] else 0.0


def clip_gradients(parameters: Iterable[nn.Parameter], config: OptimizerConfig) -> Float[Tensor, ""]:
    """The norm of the gradient, which is scaled down to `grad_clip` where it is larger."""
    with_gradient = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in with_gradient if parameter.grad is not None])
    if config.grad_clip is not None:
        nn.utils.clip_grads_with_norm_(with_gradient, config.grad_clip, norm)
    return norm
