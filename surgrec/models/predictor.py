"""V-JEPA's predictor: from what the context encoder sees to the features of what it does not."""

from dataclasses import dataclass

import torch
from einops import repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.models.blocks import NORM_EPS, Block, init_linear, rescale_blocks
from surgrec.models.encoder import (
    EncoderConfig,
    check_heads,
    modality_vector,
    rotary_positions,
    sinusoid_positions,
)


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """The predictor's size; it has the encoder's kind of positions, its levels and its modality embedding. Defaults are
    V-JEPA 2's (arXiv:2506.09985, section 2.1)."""

    width: int = 384
    """Channels of a token."""

    depth: int = 12
    """Transformer blocks."""

    num_heads: int = 12
    """Attention heads."""

    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    shared_mask_token: bool = True
    """One mask token for all mask configurations, as V-JEPA 2 and 2.1 are trained: they store ten and eight, but count them by
    the lengths of their clips, so the first is the only one in use (facebookresearch/vjepa2, src/utils/wrappers.py). False
    for V-JEPA 1: one for each mask configuration (arXiv:2404.08471; facebookresearch/jepa, configs/pretrain)."""

    context_head: bool = False
    """Also predict the features of what is seen, by a head of its own, as V-JEPA 2.1 does."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)


class Predictor(nn.Module):
    """A narrow transformer over context tokens and mask tokens, each at its own place in the full grid."""

    def __init__(
        self, config: PredictorConfig, encoder: EncoderConfig, num_mask_configs: int
    ) -> None:
        super().__init__()
        self.config = config
        self.predictor_embed = _input_layer(encoder, config.width)
        # One tensor, so that every step gives every parameter a gradient; zeros, as V-JEPA has them.
        self.mask_tokens = nn.Parameter(
            torch.zeros(1 if config.shared_mask_token else num_mask_configs, config.width)
        )
        self.rope = rotary_positions(encoder, config.width // config.num_heads)
        self.sinusoids = sinusoid_positions(encoder, config.width)
        self.predictor_blocks = nn.ModuleList(
            Block(config.width, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.predictor_norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        features = encoder.width * max(1, len(encoder.levels))
        self.predictor_proj = nn.Linear(config.width, features)
        self.predictor_proj_context = (
            nn.Linear(config.width, features) if config.context_head else None
        )
        self.apply(init_linear)
        if encoder.positions == "rope":
            rescale_blocks(self.predictor_blocks)
        self.modality_embed = modality_vector(config.width) if encoder.modality_embedding else None

    def forward(
        self,
        context_tokens: Float[Tensor, "b k d"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        mask_config: int,
    ) -> Float[Tensor, "b m d"]:
        """Predicted features of the target tokens.

        Args:
            context_tokens: The encoder's output at `context_index`, of all its levels.
            context_index: Ids in the full grid, in any order.
            target_index: Ids to predict, in any order.
            mask_config: Number of the mask configuration, which has a mask token of its own where they are not shared.
        """
        tokens = self._last_block(context_tokens, context_index, target_index, mask_config)
        predictions: Float[Tensor, "b m d"] = self.predictor_proj(
            self.predictor_norm(tokens[:, -target_index.shape[1] :])
        )
        return predictions

    def predict_with_context(
        self,
        context_tokens: Float[Tensor, "b k d"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        mask_config: int,
    ) -> tuple[Float[Tensor, "b m d"], Float[Tensor, "b k d"]]:
        """Predicted features of the target tokens, and of the context tokens. Needs a `context_head`; arguments as above."""
        assert self.predictor_proj_context is not None, "the config asks for a context head"
        tokens = self._last_block(context_tokens, context_index, target_index, mask_config)
        context, targets = self.predictor_norm(tokens).split(
            [context_index.shape[1], target_index.shape[1]], dim=1
        )
        return self.predictor_proj(targets), self.predictor_proj_context(context)

    def _last_block(
        self,
        context_tokens: Float[Tensor, "b k d"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        mask_config: int,
    ) -> Float[Tensor, "b k_and_m w"]:
        """Context and target tokens, in this order, after the last block."""
        num_clips, num_targets = target_index.shape
        context = self.predictor_embed(context_tokens)
        mask_token = self.mask_tokens[0 if self.config.shared_mask_token else mask_config]
        hidden = repeat(mask_token.to(context.dtype), "d -> b m d", b=num_clips, m=num_targets)
        tokens = torch.cat([context, hidden], dim=1)
        # Every token carries its own position, turned or added, so the tokens need no sorting.
        index = torch.cat([context_index, target_index], dim=1)
        if self.sinusoids is not None:
            tokens = tokens + self.sinusoids(index).type_as(tokens)
        if self.modality_embed is not None:
            tokens = tokens + self.modality_embed.type_as(tokens)
        rope = None if self.rope is None else self.rope(index)
        for block in self.predictor_blocks:
            tokens = block(tokens, rope)
        return tokens


def fitting_mask_tokens(tokens: Float[Tensor, "m d"], num_slots: int) -> Float[Tensor, "k d"]:
    """Trained mask tokens for every slot: as they are where each of them was trained, else the one that was, repeated.

    V-JEPA 2 trains the first of its ten only; the others are still the zeros that they began with.
    """
    chosen = chosen_mask_token(tokens, num_slots)
    return tokens if chosen is None else repeat(tokens[chosen], "d -> k d", k=num_slots)


def chosen_mask_token(tokens: Float[Tensor, "m d"], num_slots: int) -> int | None:
    """Which token fills every slot: the one of the largest norm; None where each slot has a trained one of its own."""
    sizes = tokens.norm(dim=1)
    return None if len(tokens) == num_slots and bool(sizes.all()) else int(sizes.argmax())


def _input_layer(encoder: EncoderConfig, width: int) -> nn.Module:
    """From the encoder's features: one linear layer, or V-JEPA 2.1's two that merge the levels."""
    num_levels = len(encoder.levels)
    if num_levels <= 1:
        return nn.Linear(encoder.width, width)
    return nn.Sequential(
        nn.Linear(num_levels * encoder.width, encoder.width),
        nn.GELU(),
        nn.Linear(encoder.width, width),
    )
