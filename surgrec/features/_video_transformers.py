"""Video transformers of other projects whose networks no encoder of SurgRec has.

Their tensors have the names of timm's vision transformer, and those of the parts that it lacks.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float, Int64
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from surgrec.encoders import Preset
from surgrec.errors import CheckpointError
from surgrec.features._preset_tensors import stored_tensors
from surgrec.models.encoder_file import load_strictly

Tensors: TypeAlias = Mapping[str, Float[Tensor, "..."]]

_NORM: Any = partial(nn.LayerNorm, eps=1e-6)
_HEAD_WIDTH = 64
"""Channels of an attention head, as in every published vision transformer of these projects."""
_PATCHES = "patch_embed.proj.weight"


class _DividedBlock(nn.Module):
    """Attention over the frames at a place, then over the places of a frame."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.temporal_norm1 = _NORM(width)
        self.temporal_attn = Attention(width, num_heads, qkv_bias=True)
        self.temporal_fc = nn.Linear(width, width)
        self.norm1 = _NORM(width)
        self.attn = Attention(width, num_heads, qkv_bias=True)
        self.norm2 = _NORM(width)
        self.mlp = Mlp(width, 4 * width)

    def forward(
        self, cls: Float[Tensor, "b 1 d"], tokens: Float[Tensor, "b t n d"]
    ) -> tuple[Float[Tensor, "b 1 d"], Float[Tensor, "b t n d"]]:
        """Return the class token and the tokens of all frames after the block."""
        batch, frames = tokens.shape[:2]
        by_place = rearrange(tokens, "b t n d -> (b n) t d")
        change = self.temporal_fc(self.temporal_attn(self.temporal_norm1(by_place)))
        tokens = tokens + rearrange(change, "(b n) t d -> b t n d", b=batch)

        # Each frame sees the class token, whose changes are averaged.
        by_frame = rearrange(tokens, "b t n d -> (b t) n d")
        both = torch.cat([repeat(cls, "b 1 d -> (b t) 1 d", t=frames), by_frame], dim=1)
        change = rearrange(self.attn(self.norm1(both)), "(b t) n d -> b t n d", b=batch)
        cls = cls + reduce(change[:, :, :1], "b t 1 d -> b 1 d", "mean")
        tokens = tokens + change[:, :, 1:]

        cls = cls + self.mlp(self.norm2(cls))
        return cls, tokens + self.mlp(self.norm2(tokens))


class TimeSformer(nn.Module):
    """A vision transformer with divided attention over time and space, as in Endo-FM.

    Args:
        preset: States the frames and pixels of the input.
        tensors: Tensors of the file, which show width, depth and size of a patch.

    Source: Bertasius et al. 2021 (arXiv:2102.05095), section 3.
    """

    def __init__(self, preset: Preset, tensors: Tensors) -> None:
        super().__init__()
        self.width, patch = _width_and_patch(tensors, axes=4)
        places = (preset.preprocessing.size_px // patch) ** 2
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, self.width, patch, patch)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, places + 1, self.width))
        self.time_embed = nn.Parameter(torch.zeros(1, preset.num_frames, self.width))
        self.num_heads = _num_heads(preset, self.width)
        blocks = [_DividedBlock(self.width, self.num_heads) for _ in range(_depth(tensors))]
        self.blocks = nn.ModuleList(blocks)
        self.norm = _NORM(self.width)
        self.apply(_init)
        for parameter in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(parameter, std=0.02)
        for block in blocks[1:]:  # attention over time begins in the first block alone
            nn.init.zeros_(block.temporal_fc.weight)

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of all frames, without the class token."""
        return self._encoded(clips)[1]

    def pooled(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b d"]:
        """Return the class token."""
        return self._encoded(clips)[0].float()

    def _encoded(
        self, clips: Float[Tensor, "b c t h w"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b n d"]]:
        frames = rearrange(clips, "b c t h w -> (b t) c h w")
        patches = self.patch_embed["proj"](frames)
        tokens = rearrange(patches, "(b t) d h w -> b t (h w) d", b=len(clips))
        tokens = tokens + self.pos_embed[:, 1:] + rearrange(self.time_embed, "1 t d -> 1 t 1 d")
        cls = repeat(self.cls_token + self.pos_embed[:, :1], "1 1 d -> b 1 d", b=len(clips))
        for block in self.blocks:
            cls, tokens = block(cls, tokens)
        return self.norm(cls)[:, 0], rearrange(self.norm(tokens), "b t n d -> b (t n) d")


class SeparateSinusoids(nn.Module):
    """A vision transformer on tubelets with separate sinusoids of time and space, as in SurgVISTA.

    A quarter of the channels has the positions in time, and three quarters those in space.

    Args:
        preset: States the frames and pixels of the input.
        tensors: Tensors of the file, which show width, depth and size of a tubelet.
    """

    def __init__(self, preset: Preset, tensors: Tensors) -> None:
        super().__init__()
        self.width, patch = _width_and_patch(tensors, axes=5)
        frames = tensors[_PATCHES].shape[2]
        size = (frames, patch, patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(3, self.width, size, size)})

        side = preset.preprocessing.size_px // patch
        table = separate_sinusoids(preset.num_frames // frames, side, self.width)
        self.pos_embed = nn.Parameter(rearrange(table, "n d -> 1 n d"))
        self.num_heads = _num_heads(preset, self.width)

        self.blocks = nn.ModuleList(
            Block(self.width, self.num_heads, qkv_bias=True, norm_layer=_NORM)
            for _ in range(_depth(tensors))
        )
        self.norm = _NORM(self.width)
        self.apply(_init)

    def forward(self, clips: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b n d"]:
        """Return the tokens of all tubelets."""
        tubelets = self.patch_embed["proj"](clips)
        tokens = rearrange(tubelets, "b d t h w -> b (t h w) d") + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        normed: Float[Tensor, "b n d"] = self.norm(tokens)
        return normed


def separate_sinusoids(times: int, side: int, width: int) -> Float[Tensor, "n d"]:
    """Return the positions of tubelets, in the order of time, row and column.

    A quarter of the channels is of the time; then three eighths each of column and row. Each part
    has the sines of all frequencies, then the cosines.

    Args:
        times: Tubelets in time.
        side: Tubelets along a side of the picture.
        width: Channels, a multiple of 16.
    """
    time, row, column = torch.meshgrid(
        torch.arange(times), torch.arange(side), torch.arange(side), indexing="ij"
    )
    parts = [
        _sinusoids(position.flatten(), channels)
        for position, channels in (
            (time, width // 4),
            (column, width // 8 * 3),
            (row, width // 8 * 3),
        )
    ]
    return torch.cat(parts, dim=1).float()


def video_transformer(
    preset: Preset, weights: Path, *, random: bool
) -> SeparateSinusoids | TimeSformer:
    """Return the network of a preset, with the weights of a file.

    Args:
        preset: The preset; its reader is `timesformer` or `separate_sinusoids`.
        weights: The file, which also shows the sizes.
        random: Keep the random weights that torch's random state gives.

    Raises:
        CheckpointError: The file is damaged, or has other tensors.
    """
    try:
        tensors = _own_names(stored_tensors(preset, weights))
        kind = TimeSformer if preset.reader == "timesformer" else SeparateSinusoids
        network = kind(preset, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{weights}: {error}; give the file from {preset.source}") from error
    if not random:
        # The sinusoids need not be stored.
        fixed = {"pos_embed": network.pos_embed} if isinstance(network, SeparateSinusoids) else {}
        load_strictly(network, {**fixed, **tensors}, str(weights))
    return network


def _own_names(tensors: Tensors) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of the networks.

    Biases of query and value alone become one bias, with 0 for the key. A prefix `encoder.` goes.
    """
    found = {name.removeprefix("encoder."): tensor for name, tensor in tensors.items()}
    for name in [name for name in found if name.endswith(".q_bias")]:
        block = name.removesuffix("q_bias")
        query, value = found.pop(name), found.pop(f"{block}v_bias", None)
        if value is None:
            raise CheckpointError(f"the tensor '{block}v_bias' is missing")
        found[f"{block}qkv.bias"] = torch.cat([query, torch.zeros_like(query), value])
    return found


def _width_and_patch(tensors: Tensors, axes: int) -> tuple[int, int]:
    patches = tensors.get(_PATCHES)
    if patches is None:
        raise CheckpointError(f"the tensor '{_PATCHES}' is missing")
    if patches.ndim != axes or not patches.numel():
        raise CheckpointError(
            f"the tensor '{_PATCHES}' has the shape {tuple(patches.shape)}, not {axes} axes"
        )
    return patches.shape[0], patches.shape[-1]


def _num_heads(preset: Preset, width: int) -> int:
    heads = preset.num_heads or width // _HEAD_WIDTH
    if not heads or width % heads:
        raise CheckpointError(f"the width {width} has no {_HEAD_WIDTH} channels for each head")
    return heads


def _depth(tensors: Tensors) -> int:
    return len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})


def _sinusoids(positions: Int64[Tensor, " n"], channels: int) -> Float[Tensor, "n d"]:
    rates = 10_000 ** -(torch.arange(channels // 2, dtype=torch.float64) / (channels // 2))
    angles = positions.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _init(module: nn.Module) -> None:
    """Draw weights as the projects do."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
