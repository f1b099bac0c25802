"""The video encoder: a vision transformer over tubelets, with the positions of V-JEPA 1, 2 or 2.1 or of VideoMAE."""

import itertools
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks import TubeletGrid
from surgrec.models.blocks import NORM_EPS, Block, init_linear, init_linear_uniform, rescale_blocks
from surgrec.models.positions import SinusoidPositions
from surgrec.models.rope import RopeVariant, RotaryPositions
from surgrec.models.tokens import TubeletEmbedding, take_tokens

Positions: TypeAlias = Literal["rope", "sincos", "sincos3d"]


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """What determines an encoder but for its weights. Defaults are V-JEPA 2's (arXiv:2506.09985, section 2.1)."""

    width: int
    """Channels of a token."""

    depth: int
    """Transformer blocks."""

    num_heads: int
    """Attention heads."""

    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""

    patch_size: int = 16
    """Side of a tubelet, pixels."""

    tubelet_size: int = 2
    """Length of a tubelet, frames."""

    num_frames: int = 16
    """Frames of a clip."""

    crop_px: int = 256
    """Side of the square frame, pixels."""

    positions: Positions = "rope"
    """V-JEPA 2's rotary positions in every block, or sinusoids added before the first: VideoMAE's flat ones (`sincos`) or
    V-JEPA 1's of time, height and width (`sincos3d`); each with its own initialization of the weights."""

    rope: RopeVariant = "tiled"
    """Layout of the rotary positions: V-JEPA 2's `tiled`, or V-JEPA 2.1's `interleaved`."""

    rope_side: int | None = None
    """Tubelets along a side of the frame that rows and columns are scaled to, as V-JEPA 2.1 interpolates its rotary positions
    to 16; None counts them as they are."""

    levels: tuple[int, ...] = ()
    """Blocks, counted from 0 and ending with the last, whose outputs are features with a norm of their own, as in V-JEPA 2.1;
    empty for one norm after the last block."""

    modality_embedding: bool = False
    """Add a learned vector to every token: V-JEPA 2.1's, which tells videos from images."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)
        side = self.grid.height
        if self.rope_side is not None and (
            self.positions != "rope" or min(self.rope_side, side) < 2
        ):
            raise ConfigError(
                f"rope_side {self.rope_side} needs rotary positions and two tubelets a side or more, not {self.positions} and "
                f"{side}; leave it out, or take larger clips"
            )
        ascending = all(first < second for first, second in itertools.pairwise((-1, *self.levels)))
        if self.levels and (not ascending or self.levels[-1] != self.depth - 1):
            raise ConfigError(
                f"levels {self.levels} must count blocks upwards and end with the last of {self.depth}, which is {self.depth - 1}"
            )

    @property
    def grid(self) -> TubeletGrid:
        """The tubelets of a clip."""
        return TubeletGrid.of_clip(
            self.num_frames, self.crop_px, self.crop_px, self.tubelet_size, self.patch_size
        )


def check_heads(width: int, num_heads: int) -> None:
    """Refuses a width that the heads cannot share, or heads too narrow for three axes of rotary pairs."""
    if num_heads < 1 or width % num_heads or width // num_heads < 6:
        raise ConfigError(
            f"width {width} does not give {num_heads} equal heads of 6 or more channels; change one of the two"
        )


class EncoderSize(TypedDict):
    """The part of `EncoderConfig` that a published size fixes."""

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
"""ViT-T to ViT-H as usual; giant is V-JEPA 2's ViT-g (arXiv:2506.09985), gigantic V-JEPA 2.1's ViT-G (facebookresearch/vjepa2,
configs/train_2_1/vitG16)."""


class Encoder(nn.Module):
    """Clips to tokens. The config's grid has no weights: another `num_frames` or `crop_px` loads the same ones."""

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

    def embed(self, clip: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Tokens before the first block: once per clip, for any number of masks.

        Args:
            clip: Normalized frames of the config's size.

        Raises:
            ConfigError: The clip has another size.
        """
        expected = (self.config.num_frames, self.config.crop_px, self.config.crop_px)
        if clip.shape[2:] != expected:
            raise ConfigError(
                f"A clip of {_times(tuple(clip.shape[2:]))} (frames, height, width) came to an encoder of {_times(expected)}; "
                "set num_frames and crop_px to the clip's"
            )
        tokens: Float[Tensor, "b n d"] = self.patch_embed(clip)
        if self.modality_embed is not None:
            tokens = tokens + self.modality_embed.type_as(tokens)
        if self.sinusoids is not None:
            tokens = tokens + self.sinusoids().type_as(tokens)
        return tokens

    def encode_levels(
        self, tokens: Float[Tensor, "b n d"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k e"]:
        """Embedded tokens through the blocks: the normed outputs of all levels side by side, the last level last.

        Args:
            tokens: From `embed`.
            index: Ids of the tokens to encode: the blocks see no others. All of them for None.
        """
        rope = None if self.rope is None else self.rope(index)
        if index is not None:
            tokens = take_tokens(tokens, index)
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
        """Embedded tokens through the blocks and the last norm. Arguments as of `encode_levels`."""
        return self.encode_levels(tokens, index)[..., -self.config.width :]

    def forward(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Features of a clip's tokens, or of those with these ids, computed from them alone."""
        return self.encode(self.embed(clip), index)


def rotary_positions(config: EncoderConfig, head_dim: int) -> RotaryPositions | None:
    """The rotary positions of the encoder, or of its predictor with heads of this width; None where sinusoids are added."""
    if config.positions != "rope":
        return None
    return RotaryPositions(config.grid, head_dim, config.rope, config.rope_side)


def sinusoid_positions(config: EncoderConfig, width: int) -> SinusoidPositions | None:
    """The sinusoids of the encoder, or of its predictor with tokens of this width; None where the positions are rotary."""
    return (
        None
        if config.positions == "rope"
        else SinusoidPositions(config.positions, config.grid, width)
    )


def modality_vector(width: int) -> nn.Parameter:
    """A learned vector that starts near 0. As a vector it is not decayed; V-JEPA 2.1's is, being stored with three axes."""
    return nn.Parameter(torch.randn(width) * 1e-6)


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
