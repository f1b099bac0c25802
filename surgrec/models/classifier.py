"""Classifiers on the tokens of an encoder: the attentive poolers of V-JEPA, or a mean."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from timm.layers.mlp import Mlp
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.models.blocks import NORM_EPS, Block, init_linear
from surgrec.ranges import Range, check_ranges

PoolerKind: TypeAlias = Literal["vjepa2", "vjepa1", "mean"]

_SELF_BLOCKS: dict[PoolerKind, int] = {"vjepa2": 3, "vjepa1": 0}
"""Blocks of self-attention before the cross-attention."""
_INIT_STD = 0.02


@dataclass(frozen=True, kw_only=True)
class PoolerConfig:
    """The way from tokens to one vector per clip. Defaults are those of V-JEPA 2's probe."""

    kind: PoolerKind = "vjepa2"
    """`vjepa2`: three blocks of self-attention, then a learned query that attends to all tokens
    (arXiv:2506.09985). `vjepa1`: the query alone (arXiv:2404.08471). `mean`: the mean of all
    tokens, then a LayerNorm, as in VideoMAE's fine-tuning and in linear probes."""
    num_heads: Annotated[int, Range(1, 65_536)] = 16
    """Attention heads of an attentive pooler. They divide the encoder's width."""

    def __post_init__(self) -> None:
        check_ranges(self)


class AttentivePooler(nn.Module):
    """Blocks of self-attention, then one block in which a learned query attends to all tokens.

    Example:
        >>> pooler = AttentivePooler(width=1024, num_heads=16, self_blocks=3)
        >>> pooler(torch.randn(2, 1568, 1024)).shape
        torch.Size([2, 1024])
    """

    def __init__(self, width: int, num_heads: int, self_blocks: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.blocks = nn.ModuleList(Block(width, num_heads, 4.0) for _ in range(self_blocks))
        # Two axes: weight decay takes the query, as in the published probes.
        self.query = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, width), std=_INIT_STD))
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, hidden_features=4 * width)

        # As in an encoder, a deeper layer adds less at first.
        self.apply(init_linear)
        for layer, block in enumerate(self.blocks, start=1):
            assert isinstance(block, Block)
            for linear in (block.attn.proj, block.mlp.fc2):
                linear.weight.data.div_(math.sqrt(layer))
        self.mlp.fc2.weight.data.div_(math.sqrt(self_blocks + 1))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """Return one vector per clip."""
        for block in self.blocks:
            tokens = block(tokens)

        # The query is not normalized, and the attention has no output projection.
        query = repeat(self.query, "1 d -> b 1 d", b=len(tokens))
        heads = rearrange(self.q(query), "b q (h d) -> b h q d", h=self.num_heads)
        key, value = rearrange(
            self.kv(self.norm1(tokens)), "b n (two h d) -> two b h n d", two=2, h=self.num_heads
        ).unbind(0)
        mixed = F.scaled_dot_product_attention(heads.type_as(value), key, value)
        pooled = query + rearrange(mixed, "b h q d -> b q (h d)")

        pooled = pooled + self.mlp(self.norm2(pooled))
        vector: Float[Tensor, "b d"] = rearrange(pooled, "b 1 d -> b d")
        return vector


class MeanPooler(nn.Module):
    """The mean of all tokens, then a LayerNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b d"]:
        """Return one vector per clip."""
        pooled: Float[Tensor, "b d"] = self.norm(tokens.float().mean(1))
        return pooled


class Classifier(nn.Module):
    """A pooler and a linear layer to one logit per class.

    Example:
        >>> classifier = Classifier(PoolerConfig(kind="vjepa1"), width=1024, num_classes=7)
        >>> classifier(torch.randn(2, 1568, 1024)).shape
        torch.Size([2, 7])
    """

    def __init__(self, config: PoolerConfig, *, width: int, num_classes: int) -> None:
        super().__init__()
        self.pooler = _pooler(config, width)
        self.linear = nn.Linear(width, num_classes)
        init_linear(self.linear)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b classes"]:
        """Return the logits of each clip."""
        logits: Float[Tensor, "b classes"] = self.linear(self.pooler(tokens))
        return logits


def _pooler(config: PoolerConfig, width: int) -> nn.Module:
    if config.kind == "mean":
        return MeanPooler(width)
    if width % config.num_heads:
        raise ConfigError(
            f"pooler.num_heads is {config.num_heads}, which does not divide the {width} channels "
            "of the encoder; give a divisor"
        )
    return AttentivePooler(width, config.num_heads, _SELF_BLOCKS[config.kind])
