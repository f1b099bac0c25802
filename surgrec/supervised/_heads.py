"""The heads that train together on the tokens of one encoder, and their optimizer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.models.classifier import Classifier, PoolerConfig
from surgrec.supervised._grid import HeadSetting
from surgrec.training import ScheduleConfig, schedule_value


class ProbeHeads(nn.Module):
    """One classifier per setting. Heads of one seed start from the same weights.

    Args:
        settings: The settings, from `head_settings`.
        pooler: The way from tokens to one vector per clip, the same for all heads.
        width: Channels of a token.
        num_outputs: Outputs of a head, such as classes.

    Example:
        >>> heads = ProbeHeads(head_settings(GridConfig(), 0), PoolerConfig(), width=1024,
        ...                    num_outputs=7)
        >>> len(heads.heads), heads(torch.randn(2, 1568, 1024)).shape
        (60, torch.Size([60, 2, 7]))
    """

    def __init__(
        self, settings: Sequence[HeadSetting], pooler: PoolerConfig, *, width: int, num_outputs: int
    ) -> None:
        super().__init__()
        self.settings = tuple(settings)
        self.heads = nn.ModuleList()
        for setting in settings:
            # Weights are drawn on the CPU, whatever the device; the random state stays.
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(setting.seed)
                self.heads.append(Classifier(pooler, width=width, num_classes=num_outputs))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "heads b k"]:
        """Return the outputs of all heads, in float32."""
        return torch.stack([head(tokens).float() for head in self.heads])


def build_heads_optimizer(heads: ProbeHeads) -> torch.optim.Optimizer:
    """Return AdamW with the rate and the decay of each head; `set_heads_step` sets the schedule.

    Matrices and queries are decayed; biases and norms are not.
    """
    groups = []
    for setting, head in zip(heads.settings, heads.heads, strict=True):
        parameters = list(head.parameters())
        common = {"lr": setting.lr, "peak_lr": setting.lr}

        # Biases and norms, which have one axis, have no weight decay.
        groups += [
            {
                **common,
                "params": [each for each in parameters if each.ndim > 1],
                "weight_decay": setting.weight_decay,
            },
            {
                **common,
                "params": [each for each in parameters if each.ndim <= 1],
                "weight_decay": 0.0,
            },
        ]
    return torch.optim.AdamW(groups, fused=True)


def set_heads_step(optimizer: torch.optim.Optimizer, share: ScheduleConfig, step: int) -> None:
    """Set the learning rate of every head at a step: its own rate times the scheduled share."""
    value = schedule_value(share, step)
    for group in optimizer.param_groups:
        group["lr"] = group["peak_lr"] * value
