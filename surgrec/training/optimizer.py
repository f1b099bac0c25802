"""AdamW as the published recipes run it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError
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
    """Largest norm of the gradient; None never clips."""

    grad_clip_each: bool = False
    """Clip encoder and predictor (or decoder) each by its own norm, as V-JEPA 1 does."""

    grad_clip_start: int = 0
    """First step that clips; V-JEPA 1 waits for the end of its warm-up."""

    def __post_init__(self) -> None:
        if self.grad_clip is None and (self.grad_clip_each or self.grad_clip_start):
            raise ConfigError(
                f"grad_clip is None, grad_clip_each {self.grad_clip_each} and grad_clip_start {self.grad_clip_start}; "
                "give grad_clip, or neither of the others"
            )
        if self.grad_clip is not None and (self.grad_clip <= 0 or self.grad_clip_start < 0):
            raise ConfigError(
                f"grad_clip is {self.grad_clip} and grad_clip_start {self.grad_clip_start}; give a positive norm, and a step "
                "of 0 or later"
            )


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW over the trainable parameters in two groups, decayed and not, with the values of step 0."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "decayed": True},
        {
            "params": [parameter for parameter in parameters if parameter.ndim <= 1],
            "decayed": False,
        },
    ]
    optimizer = torch.optim.AdamW(groups, betas=config.betas, eps=config.eps, fused=True)
    set_step(optimizer, config, step=0)
    return optimizer


def set_step(optimizer: torch.optim.Optimizer, config: OptimizerConfig, step: int) -> None:
    """Sets the learning rate and the weight decay that the schedules give for this step."""
    for group in optimizer.param_groups:
        group["lr"] = schedule_value(config.lr, step)
        group["weight_decay"] = (
            schedule_value(config.weight_decay, step) if group["decayed"] else 0.0
        )


def clip_gradients(module: nn.Module, config: OptimizerConfig, step: int) -> Float[Tensor, ""]:
    """The norm of the whole gradient, before it is scaled down where `grad_clip` asks for it at this step."""
    norm = _gradient_norm(module)
    if config.grad_clip is not None and step >= config.grad_clip_start:
        for part in module.children() if config.grad_clip_each else [module]:
            nn.utils.clip_grads_with_norm_(
                part.parameters(), config.grad_clip, _gradient_norm(part)
            )
    return norm


def _gradient_norm(module: nn.Module) -> Float[Tensor, ""]:
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    return nn.utils.get_total_norm(gradients)
