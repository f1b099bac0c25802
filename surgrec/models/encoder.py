"""The video encoder: a vision transformer over tubelets.

It has the positions of V-JEPA 1, V-JEPA 2, V-JEPA 2.1 or VideoMAE.
"""

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeAlias, TypedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.models._config_checks import (
    Depth,
    MlpRatio,
    Width,
    check_block_sizes,
    check_table,
    weight_differences,
)
from surgrec.models._rope import RopeVariant, RotaryPositions
from surgrec.models.blocks import NORM_EPS, Block, init_linear, init_linear_uniform, rescale_blocks
from surgrec.models.positions import SinusoidPositions
from surgrec.models.tokens import TubeletEmbedding, take_tokens
from surgrec.ranges import Range, check_ranges

State: TypeAlias = Mapping[str, Float[Tensor, "..."]]
"""Tensors by name."""

Positions: TypeAlias = Literal["rope", "sincos", "sincos3d"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Everything that determines an encoder except its weights.

    Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1).
    """

    width: Width
    """Channels of a token."""

    depth: Depth
    """Transformer blocks."""

    num_heads: Annotated[int, Range(1, 65_536)]
    """Attention heads."""

    mlp_ratio: MlpRatio = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    patch_size: Annotated[int, Range(1, 1024)] = 16
    """Side of a tubelet, pixels."""

    tubelet_size: Annotated[int, Range(1, 1024)] = 2
    """Length of a tubelet, frames."""

    num_frames: Annotated[int, Range(1, 65_536)] = 16
    """Frames of a clip."""

    crop_px: Annotated[int, Range(1, 16_384)] = 256
    """Side of the square frame, pixels."""

    positions: Positions = "rope"
    """Kind of positions. `rope`: V-JEPA 2's rotary positions in every block. `sincos`: VideoMAE's
    flat sinusoids. `sincos3d`: V-JEPA 1's sinusoids of time, height and width. Sinusoids are added
    before the first block. Each kind has the weight initialization of its method."""

    rope: RopeVariant = "tiled"
    """Layout of rotary positions: V-JEPA 2's `tiled`, or V-JEPA 2.1's `interleaved`."""

    rope_side: Annotated[int, Range(2, 16_384)] | None = None
    """Tubelets along a frame's side that rows and columns are scaled to. V-JEPA 2.1 interpolates
    rotary positions to 16. None: no scaling."""

    levels: tuple[int, ...] = ()
    """Blocks whose normalized outputs are features, as in V-JEPA 2.1. Each level has its own norm.
    Blocks count from 0, ascending, and end with the last. Empty: one norm after the last block."""

    modality_embedding: bool = False
    """Add a learned vector to every token. In V-JEPA 2.1 it separates videos from images."""

    def __post_init__(self) -> None:
        check_ranges(self)
        check_block_sizes(self.width, self.num_heads, self.mlp_ratio)
        check_table(self.grid.num_tokens, self.width)

        side = self.grid.height
        if self.rope_side is not None and self.positions != "rope":
            raise ConfigError(
                f"rope_side is {self.rope_side} and positions is {self.positions}; remove "
                "rope_side, or set positions to rope"
            )
        if self.rope_side is not None and min(self.rope_side, side) < 2:
            raise ConfigError(
                f"rope_side is {self.rope_side} and a frame has {side} x {side} tubelets, but both "
                "sides need 2 or more; remove rope_side, or raise it or crop_px"
            )

        ascending = all(first < second for first, second in itertools.pairwise((-1, *self.levels)))
        if self.levels and (not ascending or self.levels[-1] != self.depth - 1):
            raise ConfigError(
                f"levels is {self.levels} and depth is {self.depth}; give block numbers in "
                f"ascending order, the last one {self.depth - 1}"
            )

    @property
    def grid(self) -> TubeletGrid:
        """Grid of a clip's tubelets."""
        return TubeletGrid.of_clip(
            self.num_frames, self.crop_px, self.crop_px, self.tubelet_size, self.patch_size
        )

    def weight_differences(self, saved: "EncoderConfig") -> str | None:
        """Return the fields in which weights of another config do not fit, or None if they fit.

        No weight depends on the size of a clip. But VideoMAE's flat sinusoids count token ids, so
        in frames of another size they mean other positions.
        """
        ignored = {"num_frames"} if self.positions == "sincos" else {"num_frames", "crop_px"}
        return weight_differences(asdict(saved), asdict(self), ignored)


class EncoderSize(TypedDict):
    """Fields of `EncoderConfig` that a published size defines."""

    width: int
    depth: int
    num_heads: int
    mlp_ratio: float


SizeName: TypeAlias = Literal["tiny", "small", "base", "large", "huge", "giant", "gigantic"]

ENCODER_SIZES: dict[SizeName, EncoderSize] = {
    "tiny": {"width": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 4.0},
    "small": {"width": 384, "depth": 12, "num_heads": 6, "mlp_ratio": 4.0},
    "base": {"width": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0},
    "large": {"width": 1024, "depth": 24, "num_heads": 16, "mlp_ratio": 4.0},
    "huge": {"width": 1280, "depth": 32, "num_heads": 16, "mlp_ratio": 4.0},
    "giant": {"width": 1408, "depth": 40, "num_heads": 22, "mlp_ratio": 48 / 11},
    "gigantic": {"width": 1664, "depth": 48, "num_heads": 26, "mlp_ratio": 64 / 13},
}
"""Published sizes by name: ViT-T to ViT-H; `giant` is V-JEPA 2's ViT-g (arXiv:2506.09985);
`gigantic` is V-JEPA 2.1's ViT-G (facebookresearch/vjepa2, configs/train_2_1/vitG16)."""


class Encoder(nn.Module):
    """A vision transformer from clips to one feature vector per tubelet.

    The grid has no weights: encoders of any `num_frames` and `crop_px` load the same weights.

    Example:
        >>> config = EncoderConfig(**ENCODER_SIZES["base"], num_frames=16, crop_px=224)
        >>> features = Encoder(config)(torch.randn(2, 3, 16, 224, 224))
        >>> features.shape  # 8 x 14 x 14 tubelets of 768 channels
        torch.Size([2, 1568, 768])
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = TubeletEmbedding(config.width, config.tubelet_size, config.patch_size)
        self.rope = rotary_positions(config, config.width // config.num_heads)
        self.sinusoids = sinusoid_positions(config, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        if config.levels:
            self.level_norms = nn.ModuleList(
                nn.LayerNorm(config.width, eps=NORM_EPS) for _ in config.levels
            )
        else:
            self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)

        self.apply(init_linear_uniform if config.positions == "sincos" else init_linear)
        if config.positions == "rope":
            rescale_blocks(self.blocks)
        self.modality_embed = modality_vector(config.width) if config.modality_embedding else None

    def embed(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return the tokens before the first block. One call serves any number of masks.

        Args:
            clip: Normalized frames of the config's size.
            index: Ids of the tokens to embed. None: all tokens.

        Raises:
            ConfigError: The clip has another size.
        """
        return self._tokens(clip, index)

    def _tokens(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None
    ) -> Float[Tensor, "b k d"]:
        """Return what `embed` returns. FSDP2 frees whole weights after `embed`, not after this."""
        expected = (self.config.num_frames, self.config.crop_px, self.config.crop_px)
        if clip.shape[2:] != expected:
            raise ConfigError(
                f"the encoder expects clips of {_times(expected)} (frames, height, width), "
                f"but got {_times(tuple(clip.shape[2:]))}; set num_frames and crop_px to match"
            )

        tokens: Float[Tensor, "b k d"] = self.patch_embed(clip, index)
        if self.modality_embed is not None:
            tokens = tokens + self.modality_embed.type_as(tokens)
        if self.sinusoids is not None:
            tokens = tokens + self.sinusoids(index).type_as(tokens)
        return tokens

    def encode_levels(
        self, tokens: Float[Tensor, "b n d"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k e"]:
        """Return the normalized outputs of all levels, concatenated, the last level last.

        Args:
            tokens: From `embed`.
            index: Ids of the tokens to encode; the blocks see no other token. None: all tokens.
        """
        return self._levels(tokens if index is None else take_tokens(tokens, index), index)

    def _levels(
        self, tokens: Float[Tensor, "b k d"], index: Int64[Tensor, "b k"] | None
    ) -> Float[Tensor, "b k e"]:
        """Return the outputs of all levels for tokens with these ids. None: all ids."""
        rope = None if self.rope is None else self.rope(index)
        levels = self.config.levels
        outputs = []
        for number, block in enumerate(self.blocks):
            tokens = block(tokens, rope)
            if number in levels:
                outputs.append(self.level_norms[levels.index(number)](tokens))

        features: Float[Tensor, "b k e"] = (
            torch.cat(outputs, dim=-1) if levels else self.norm(tokens)
        )
        return features

    def encode(
        self, tokens: Float[Tensor, "b n d"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return the normalized output of the last block. Arguments as in `encode_levels`."""
        return self._last_level(self.encode_levels(tokens, index))

    def _last_level(self, features: Float[Tensor, "b k e"]) -> Float[Tensor, "b k d"]:
        # A slice is a view even if it is the whole tensor, and FSDP2 warns of views.
        one_level = features.shape[-1] == self.config.width
        return features if one_level else features[..., -self.config.width :]

    def forward(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Return features of all tokens, or of the given ids, computed from these alone."""
        return self._last_level(self._levels(self._tokens(clip, index), index))


def blank_encoder(config: EncoderConfig) -> State:
    """Return the encoder's tensors without values, on the meta device."""
    with torch.device("meta"):
        return Encoder(config).state_dict()


def rotary_positions(config: EncoderConfig, head_dim: int) -> RotaryPositions | None:
    """Return rotary positions for heads of this width, or None if positions are sinusoids.

    Encoder and predictor share the kind of positions, but not the width of a head.
    """
    if config.positions != "rope":
        return None
    return RotaryPositions(config.grid, head_dim, config.rope, config.rope_side)


def sinusoid_positions(config: EncoderConfig, width: int) -> SinusoidPositions | None:
    """Return sinusoids for tokens of this width, or None if positions are rotary."""
    if config.positions == "rope":
        return None
    return SinusoidPositions(config.positions, config.grid, width)


def modality_vector(width: int) -> nn.Parameter:
    """Return a learned vector, initialized near 0.

    Weight decay skips it, as it has one axis. V-JEPA 2.1 stores it with three axes and decays it.
    """
    return nn.Parameter(torch.randn(width) * 1e-6)


def _times(sizes: tuple[int, ...]) -> str:
    """Return sizes as `16x256x256`."""
    return "x".join(map(str, sizes))
