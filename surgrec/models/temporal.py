"""Small causal networks on sequences of features: their output at a time knows no later one."""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

_SLOWEST = 10_000.0
"""Ratio of the slowest and the fastest wavelength of positions."""


class CausalTcn(nn.Module):
    """Stages of causal dilated convolutions; each refines the probabilities of the one before.

    Source: MS-TCN (Farha and Gall 2019, arXiv:1903.01945, section 3); causal and with two stages as
    in TeCNO (Czempiel et al. 2020, arXiv:2003.10751, section 2.2).

    Args:
        width: Channels of the features.
        num_classes: Classes to predict.
        channels: Channels of the convolutions.
        layers: Layers of a stage, with dilations 1, 2, 4, ...: 8 see 511 steps.
        stages: Number of stages.
        dropout: Share of channels that are dropped in training.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        *,
        channels: int = 64,
        layers: int = 8,
        stages: int = 2,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        inputs = [width, *[num_classes] * (stages - 1)]
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(each, channels, 1),
                *(_CausalLayer(channels, 2**layer, dropout) for layer in range(layers)),
                nn.Conv1d(channels, num_classes, 1),
            )
            for each in inputs
        )

    def forward(self, features: Float[Tensor, "b n d"]) -> list[Float[Tensor, "b n k"]]:
        """Return the logits of each stage; those of the last one are the prediction."""
        inputs, logits = rearrange(features, "b n d -> b d n"), []
        for stage in self.stages:
            logits.append(stage(inputs))
            inputs = logits[-1].softmax(1)
        return [rearrange(each, "b k n -> b n k") for each in logits]


class CausalTransformer(nn.Module):
    """A transformer whose attention sees the present and the past.

    Source of the causal attention and of the positions: Vaswani et al. 2017 (arXiv:1706.03762,
    sections 3.2.3 and 3.5). Norms come before attention and MLP.

    Args:
        width: Channels of the features.
        num_classes: Classes to predict.
        channels: Channels of a token.
        layers: Number of blocks.
        heads: Heads of attention.
        dropout: Share of activations that are dropped in training.
    """

    def __init__(
        self,
        width: int,
        num_classes: int,
        *,
        channels: int = 64,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        self.stem = nn.Linear(width, channels)
        self.blocks = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                channels,
                heads,
                dim_feedforward=4 * channels,
                dropout=dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            ),
            layers,
            norm=nn.LayerNorm(channels),
            enable_nested_tensor=False,
        )
        self.head = nn.Linear(channels, num_classes)

    def forward(self, features: Float[Tensor, "b n d"]) -> list[Float[Tensor, "b n k"]]:
        """Return the logits, as a list of one stage."""
        tokens = self.stem(features)
        tokens = tokens + _positions(*tokens.shape[1:]).to(tokens)
        mask = nn.Transformer.generate_square_subsequent_mask(
            tokens.shape[1], device=tokens.device, dtype=tokens.dtype
        )
        return [self.head(self.blocks(tokens, mask=mask, is_causal=True))]


class _CausalLayer(nn.Module):
    """A dilated convolution of the present and the past, beside its input."""

    def __init__(self, channels: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.past = 2 * dilation
        self.dilated = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.mixed = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, inputs: Float[Tensor, "b c n"]) -> Float[Tensor, "b c n"]:
        hidden = F.relu(self.dilated(F.pad(inputs, (self.past, 0))))
        change: Tensor = self.dropout(self.mixed(hidden))
        return inputs + change


def _positions(length: int, channels: int) -> Float[Tensor, "n c"]:
    """Return sines and cosines of the number of a step."""
    frequency = _SLOWEST ** -(torch.arange(0, channels, 2) / channels)
    angle = torch.outer(torch.arange(length, dtype=torch.float32), frequency)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
