"""V-JEPA's predictor: from features of visible tubelets to features of hidden ones."""

from dataclasses import asdict, dataclass
from typing import Annotated

import torch
from einops import repeat
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.models._config_checks import (
    Depth,
    MlpRatio,
    Width,
    check_block_sizes,
    weight_differences,
)
from surgrec.models.blocks import NORM_EPS, Block, init_linear, rescale_blocks
from surgrec.models.encoder import (
    EncoderConfig,
    modality_vector,
    rotary_positions,
    sinusoid_positions,
)
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class PredictorConfig:
    """Size of the predictor. Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1).

    The predictor takes its kind of positions, levels and modality embedding from the encoder.
    """

    width: Width = 384
    """Channels of a token."""

    depth: Depth = 12
    """Transformer blocks."""

    num_heads: Annotated[int, Range(1, 65_536)] = 12
    """Attention heads."""

    mlp_ratio: MlpRatio = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    shared_mask_token: bool = True
    """One mask token for all mask configurations. True for V-JEPA 2 and 2.1: they store ten and
    eight tokens but select one by clip length, so only the first is used (facebookresearch/vjepa2,
    src/utils/wrappers.py). False for V-JEPA 1: one token per mask configuration (arXiv:2404.08471;
    facebookresearch/jepa, configs/pretrain)."""

    context_head: bool = False
    """Also predict features of visible tubelets, with a second output layer, as V-JEPA 2.1 does."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_block_sizes(self.width, self.num_heads, self.mlp_ratio)

    def weight_differences(self, saved: "PredictorConfig") -> str | None:
        """Return the fields in which weights of another config do not fit, or None if they fit.

        `fit_mask_tokens` makes any number of mask tokens fit.
        """
        return weight_differences(asdict(saved), asdict(self), ignored={"shared_mask_token"})


class Predictor(nn.Module):
    """A narrow transformer over context tokens and mask tokens, with positions in the full grid."""

    def __init__(
        self, config: PredictorConfig, encoder: EncoderConfig, num_mask_configs: int
    ) -> None:
        super().__init__()
        self.config = config
        self.predictor_embed = _input_layer(encoder, config.width)
        # One tensor, so that every step gives every parameter a gradient. Zeros, as in V-JEPA.
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
        """Return the predicted features of the target tokens.

        Args:
            context_tokens: Output of the encoder at `context_index`, all levels concatenated.
            context_index: Token ids in the full grid, in any order.
            target_index: Token ids to predict, in any order.
            mask_config: Number of the mask configuration. Selects the mask token if not shared.
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
        """Return the predicted features of the target tokens and of the context tokens.

        Needs `context_head`. Arguments as in `forward`.
        """
        assert self.predictor_proj_context is not None, "the config has no context_head"
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
        """Return context tokens, then target tokens, after the last block."""
        num_clips, num_targets = target_index.shape

        # Context tokens, then one mask token per target.
        context = self.predictor_embed(context_tokens)
        mask_token = self.mask_tokens[0 if self.config.shared_mask_token else mask_config]
        hidden = repeat(mask_token.to(context.dtype), "d -> b m d", b=num_clips, m=num_targets)
        tokens = torch.cat([context, hidden], dim=1)

        # Positions are looked up by id, so the tokens need no sorting.
        index = torch.cat([context_index, target_index], dim=1)
        if self.sinusoids is not None:
            tokens = tokens + self.sinusoids(index).type_as(tokens)
        if self.modality_embed is not None:
            tokens = tokens + self.modality_embed.type_as(tokens)

        rope = None if self.rope is None else self.rope(index)
        for block in self.predictor_blocks:
            tokens = block(tokens, rope)
        return tokens


def fit_mask_tokens(
    tokens: Float[Tensor, "m d"], num_slots: int
) -> tuple[Float[Tensor, "k d"], int | None]:
    """Return trained mask tokens for every slot of a predictor.

    V-JEPA 2 trains only the first of its ten tokens; the others keep their initial zeros. So unless
    there is one nonzero token per slot, the token of the largest norm fills all slots.

    Args:
        tokens: Stored mask tokens.
        num_slots: Number of mask tokens that the predictor has.

    Returns:
        The tokens, and the index of the repeated one. None: all tokens are kept.
    """
    norms = tokens.norm(dim=1)
    if len(tokens) == num_slots and bool(norms.all()):
        return tokens, None
    largest = int(norms.argmax())
    return repeat(tokens[largest], "d -> k d", k=num_slots), largest


def _input_layer(encoder: EncoderConfig, width: int) -> nn.Module:
    """Return the layer from the encoder's features to the predictor's tokens.

    It is one linear layer, or V-JEPA 2.1's two, which merge the levels.
    """
    num_levels = len(encoder.levels)
    if num_levels <= 1:
        return nn.Linear(encoder.width, width)
    return nn.Sequential(
        nn.Linear(num_levels * encoder.width, encoder.width),
        nn.GELU(),
        nn.Linear(encoder.width, width),
    )
