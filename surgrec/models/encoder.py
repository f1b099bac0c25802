"""The video encoder: a vision transformer over tubelets, with the positions of V-JEPA 2 or of VideoMAE."""

from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

from jaxtyping import Float, Int64
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.masks.grid import TubeletGrid
from surgrec.models.blocks import NORM_EPS, Block, init_linear, init_linear_uniform, rescale_blocks
from surgrec.models.positions import SinusoidPositions
from surgrec.models.rope import RopeVariant, RotaryPositions
from surgrec.models.tokens import TubeletEmbedding, take_tokens


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

    positions: Literal["rope", "sincos"] = "rope"
    """V-JEPA 2's rotary positions in every block, or VideoMAE's sinusoids added before the first; each with its own
    initialisation of the weights."""

    rope: RopeVariant = "tiled"
    """Layout of the rotary positions: V-JEPA 2's `tiled`, or `interleaved`."""

    def __post_init__(self) -> None:
        check_heads(self.width, self.num_heads)
        _ = self.grid

    @property
    def grid(self) -> TubeletGrid:
        """The tubelets of a clip."""
        return TubeletGrid.of_clip(self.num_frames, self.crop_px, self.crop_px, self.tubelet_size, self.patch_size)


def check_heads(width: int, num_heads: int) -> None:
    """Refuses a width that the heads cannot share, or heads too narrow for three axes of rotary pairs."""
    if width % num_heads or width // num_heads < 6:
        raise ConfigError(
            f"width {width} does not give {num_heads} equal heads of 6 or more channels; change one of the two"
        )


class EncoderSize(TypedDict):
    """The part of `EncoderConfig` that a published size fixes."""

    width: int
    depth: int
    num_heads: int
    mlp_ratio: float


SizeName: TypeAlias = Literal["tiny", "small", "base", "large", "huge", "giant"]

ENCODER_SIZES: dict[SizeName, EncoderSize] = {
    "tiny": {"width": 192, "depth": 12, "num_heads": 3, "mlp_ratio": 4.0},
    "small": {"width": 384, "depth": 12, "num_heads": 6, "mlp_ratio": 4.0},
    "base": {"width": 768, "depth": 12, "num_heads": 12, "mlp_ratio": 4.0},
    "large": {"width": 1024, "depth": 24, "num_heads": 16, "mlp_ratio": 4.0},
    "huge": {"width": 1280, "depth": 32, "num_heads": 16, "mlp_ratio": 4.0},
    "giant": {"width": 1408, "depth": 40, "num_heads": 22, "mlp_ratio": 48 / 11},
}
"""ViT-T to ViT-H as usual; giant is V-JEPA 2's ViT-g (arXiv:2506.09985)."""


class Encoder(nn.Module):
    """Clips to tokens. The config's grid has no weights: another `num_frames` or `crop_px` loads the same ones."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = TubeletEmbedding(config.width, config.tubelet_size, config.patch_size)
        rotary = config.positions == "rope"
        self.rope = RotaryPositions(config.grid, config.width // config.num_heads, config.rope) if rotary else None
        self.sinusoids = None if rotary else SinusoidPositions(config.grid.num_tokens, config.width)
        self.blocks = nn.ModuleList(
            Block(config.width, config.num_heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.width, eps=NORM_EPS)
        self.apply(init_linear if rotary else init_linear_uniform)
        if rotary:
            rescale_blocks(self.blocks)

    def embed(self, clip: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Tokens before the first block: once per clip, for any number of masks.

        Args:
            clip: Normalised frames of the config's size.

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
        if self.sinusoids is not None:
            tokens = tokens + self.sinusoids().type_as(tokens)
        return tokens

    def encode(
        self, tokens: Float[Tensor, "b n d"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Embedded tokens through the blocks and the final norm.

        Args:
            tokens: From `embed`.
            index: Ids of the tokens to encode: the blocks see no others. All of them for None.
        """
        rope = None if self.rope is None else self.rope(index)
        if index is not None:
            tokens = take_tokens(tokens, index)
        for block in self.blocks:
            tokens = block(tokens, rope)
        normed: Float[Tensor, "b k d"] = self.norm(tokens)
        return normed

    def forward(
        self, clip: Float[Tensor, "b c t h w"], index: Int64[Tensor, "b k"] | None = None
    ) -> Float[Tensor, "b k d"]:
        """Features of a clip's tokens, or of those with these ids, computed from them alone."""
        return self.encode(self.embed(clip), index)


def _times(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))
