"""VideoMAE's decoder: from features of visible tubelets to pixels of hidden ones."""

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
from surgrec.models.blocks import NORM_EPS, Block, init_linear_uniform
from surgrec.models.encoder import EncoderConfig
from surgrec.models.positions import SinusoidPositions
from surgrec.models.tokens import NUM_CHANNELS
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Size of the decoder. Defaults are those of VideoMAE's ViT-B (arXiv:2203.12602, appendix)."""

    width: Width = 384
    """Channels of a token."""

    depth: Depth = 4
    """Transformer blocks."""

    num_heads: Annotated[int, Range(1, 65_536)] = 6
    """Attention heads."""

    mlp_ratio: MlpRatio = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_block_sizes(self.width, self.num_heads, self.mlp_ratio)

    def weight_differences(self, saved: "DecoderConfig") -> str | None:
        """Return the fields in which weights of another config do not fit, or None if they fit."""
        return weight_differences(asdict(saved), asdict(self), ignored=())


class Decoder(nn.Module):
    """A narrow transformer over visible tokens and mask tokens, with positions in the full grid."""

    def __init__(self, config: DecoderConfig, encoder: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder_to_decoder = nn.Linear(encoder.width, config.width, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(config.width))
        self.positions = SinusoidPositions("sincos", encoder.grid, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.head = nn.Linear(
            config.width, NUM_CHANNELS * encoder.tubelet_size * encoder.patch_size**2
        )

        self.apply(init_linear_uniform)
        nn.init.trunc_normal_(self.mask_token, std=0.02)

    def forward(
        self,
        context_tokens: Float[Tensor, "b k d"],
        context_index: Int64[Tensor, "b k"],
        target_index: Int64[Tensor, "b m"],
        unscored_index: Int64[Tensor, "b k_unscored"] | None = None,
    ) -> Float[Tensor, "b m p"]:
        """Return the predicted pixels of the target tokens.

        Args:
            context_tokens: Output of the encoder at `context_index`.
            context_index: Token ids in the full grid, in any order.
            target_index: Token ids to predict, in any order.
            unscored_index: Token ids that also get a mask token but no prediction.

        Returns:
            Pixels of each tubelet in the order frames, rows, columns, channels; channels vary
            fastest.
        """
        decoded = (
            target_index
            if unscored_index is None
            else torch.cat([unscored_index, target_index], dim=1)
        )
        num_clips, num_decoded = decoded.shape

        # Visible tokens, then one mask token for each decoded position.
        context = self.encoder_to_decoder(context_tokens)
        hidden = repeat(self.mask_token.to(context.dtype), "d -> b m d", b=num_clips, m=num_decoded)
        tokens = torch.cat([context, hidden], dim=1)
        tokens = tokens + self.positions(torch.cat([context_index, decoded], dim=1)).type_as(tokens)

        for block in self.blocks:
            tokens = block(tokens)

        pixels: Float[Tensor, "b m p"] = self.head(self.norm(tokens[:, -target_index.shape[1] :]))
        return pixels
