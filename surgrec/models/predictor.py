"""V-JEPA 2's predictor: from what the context encoder sees to the features of what it does not."""

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.models.blocks import NORM_EPS, Block, init_linear, rescale_blocks
from surgrec.models.encoder import EncoderConfig, check_heads
from surgrec.models.rope import RotaryPositions


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """The predictor's size. Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1)."""

    width: int = 384
    """Channels of a token."""

    depth: int = 12
    """Transformer blocks."""

    num_heads: int = 12
    """Attention heads."""

    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)


class Predictor(nn.Module):
    """A narrow transformer over context tokens and mask tokens, each turned to its own place in the full grid."""

    def __init__(self, config: PredictorConfig, encoder: EncoderConfig, num_mask_configs: int) -> None:
        super().__init__()
        self.config = config
        self.predictor_embed = nn.Linear(encoder.width, config.width)
        # One tensor, so that every step gives every parameter a gradient; zeros, as V-JEPA 2 has them.
        self.mask_tokens = nn.Parameter(torch.zeros(num_mask_configs, config.width))
        self.rope = RotaryPositions(encoder.grid, config.width // config.num_heads, encoder.rope)
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.predictor_proj = nn.Linear(config.width, encoder.width)
        self.apply(init_linear)
        rescale_blocks(self.predictor_blocks)

    def forward(
        self,
        context_tokens: Float[Tensor, "b k d"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        mask_config: int,
    ) -> Float[Tensor, "b m d"]:
        """Predicted features of the target tokens.

        Args:
            context_tokens: The encoder's output at `context_index`.
            context_index: Ids in the full grid, in any order.
            target_index: Ids to predict, in any order.
            mask_config: Number of the mask configuration, which has a mask token of its own.
        """
        num_clips, num_targets = target_index.shape
        context = self.predictor_embed(context_tokens)
        hidden = repeat(self.mask_tokens[mask_config].to(context.dtype), "d -> b m d", b=num_clips, m=num_targets)
        tokens = torch.cat([context, hidden], dim=1)
        # The positions are in the rotation alone, so the tokens need no sorting.
        rope = self.rope(torch.cat([context_index, target_index], dim=1))
        for block in self.predictor_blocks:
            tokens = block(tokens, rope)
        predictions: Float[Tensor, "b m d"] = self.predictor_proj(self.predictor_norm(tokens[:, -num_targets:]))
        return predictions
