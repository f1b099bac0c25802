"""The transformer block of encoder, predictor and decoder, and its initialization."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from timm.layers.mlp import Mlp
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from torch import Tensor, nn

from surgrec.models._compilation import compiled
from surgrec.models.activations import ActivationCheckpointing, checkpointed

NORM_EPS = 1e-6
"""Epsilon of every LayerNorm, as in V-JEPA 2 and VideoMAE. PyTorch's default is 1e-5."""


class Attention(nn.Module):
    """Self-attention, optionally with rotary positions on queries and keys."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(
        self, tokens: Float[Tensor, "b k d"], rope: Float[Tensor, "#b 1 k r"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return each token's attention-weighted mixture of all tokens."""
        qkv = rearrange(
            self.qkv(tokens),
            "b k (three heads d) -> three b heads k d",
            three=3,
            heads=self.num_heads,
        )
        query, key, value = qkv.unbind(0)

        if rope is not None:
            # Angles stay in float32 under autocast; rotated vectors return to the working dtype.
            query = apply_rot_embed_cat(query, rope).type_as(value)
            key = apply_rot_embed_cat(key, rope).type_as(value)

        mixed = F.scaled_dot_product_attention(query, key, value)
        projected: Float[Tensor, "b k d"] = self.proj(
            rearrange(mixed, "b heads k d -> b k (heads d)")
        )
        return projected


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=NORM_EPS)
        self.attn = Attention(width, num_heads)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = Mlp(width, hidden_features=round(width * mlp_ratio))
        self.activation_checkpointing: ActivationCheckpointing = "none"
        self.compiled: Callable[..., Tensor] | None = None

    def forward(
        self, tokens: Float[Tensor, "b k d"], rope: Float[Tensor, "#b 1 k r"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return the tokens after attention and MLP."""
        if self.compiled is not None and self._is_in_step:
            return self.compiled(self, tokens, rope)
        return self._checkpointed(tokens, rope)

    @property
    def _is_in_step(self) -> bool:
        """Whether this call is part of a training step, and not of a measurement.

        A target encoder has no gradients in a step, and the trained modules have no other calls.
        Measurements have other shapes, each of which would be compiled.
        """
        return self.training and self.norm1.weight.requires_grad == torch.is_grad_enabled()

    def _checkpointed(
        self, tokens: Float[Tensor, "b k d"], rope: Float[Tensor, "#b 1 k r"] | None
    ) -> Float[Tensor, "b k d"]:
        return checkpointed(self._layers, self.activation_checkpointing, tokens, rope)

    def _layers(
        self, tokens: Float[Tensor, "b k d"], rope: Float[Tensor, "#b 1 k r"] | None
    ) -> Float[Tensor, "b k d"]:
        tokens = tokens + self.attn(self.norm1(tokens), rope)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens


def checkpoint_activations(module: nn.Module, kept: ActivationCheckpointing) -> None:
    """Set which activations the blocks of a module keep for the backward pass.

    Losses and gradients do not change. See `checkpointed`.
    """
    for block in module.modules():
        if isinstance(block, Block):
            block.activation_checkpointing = kept


def compile_blocks(module: nn.Module, *, fixed_shapes: bool) -> None:
    """Let torch compile the blocks of a module for the calls of training steps.

    Results change by rounding only. Names of weights stay.

    Args:
        module: Contains the blocks.
        fixed_shapes: Whether clips and tokens come in few shapes, for each of which a version is
            compiled. Otherwise, one version serves all.
    """
    layers = compiled(Block._checkpointed, fixed_shapes=fixed_shapes)
    for block in module.modules():
        if isinstance(block, Block):
            block.compiled = layers


def init_linear(module: nn.Module) -> None:
    """Initialize weights from a normal distribution of std 0.02, biases with 0, as V-JEPA 2 does.

    Pass it to `Module.apply`.
    """
    if isinstance(module, (nn.Linear, nn.Conv3d)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


def init_linear_uniform(module: nn.Module) -> None:
    """Initialize weights from Xavier's uniform distribution, biases with 0, as VideoMAE does.

    The tubelet embedding keeps PyTorch's default initialization. Pass it to `Module.apply`.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def rescale_blocks(blocks: nn.ModuleList) -> None:
    """Divide the output weights of layer l = 1, 2, ... by sqrt(2 l).

    The residual stream then starts at about the same scale in every layer.
    """
    for layer, block in enumerate(blocks, start=1):
        assert isinstance(block, Block)
        for linear in (block.attn.proj, block.mlp.fc2):
            linear.weight.data.div_(math.sqrt(2.0 * layer))
