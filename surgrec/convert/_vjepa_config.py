"""What the tensors of a V-JEPA checkpoint say of its version and its sizes.

Versions 1 and 2 are told apart by the user: both publish a table of positions, which version 2 does not use.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from surgrec.convert._key_map import num_blocks
from surgrec.convert._pretrained import ImportOptions
from surgrec.convert._shapes import encoder_size, require_depth, require_tensor
from surgrec.convert._vjepa_names import PUBLISHED_LEVELS, PUBLISHED_SIDE, Version
from surgrec.errors import CheckpointError
from surgrec.masks import TubeletGrid
from surgrec.models import EncoderConfig
from surgrec.models.positions import TABLE_TOLERANCE, sinusoid_table_3d

_VJEPA1_POSITIONS = (8 * 14 * 14, 8 * 24 * 24)
"""Of 16 frames of 224 and of 384 pixels, which only version 1 published."""


def stored_version(tensors: Mapping[str, Tensor], options: ImportOptions, where: str) -> Version:
    """The version that an encoder's tensors, without the wrappers' prefixes, are of.

    Raises:
        CheckpointError: It is 1 or 2, and `options` does not say which positions it has.
    """
    if "norms_block.0.weight" in tensors:
        return "vjepa2.1"
    if "pos_embed" not in tensors:
        return "vjepa2"
    if options.positions is None:
        raise CheckpointError(
            f"{where} has a table 'pos_embed', as the files of V-JEPA 1 and of V-JEPA 2 do: say --positions sincos3d for 1, "
            "which uses it, or --positions rope for 2, which does not"
        )
    if options.positions == "sincos3d":
        return "vjepa1"
    num_positions = tensors["pos_embed"].shape[-2]
    if num_positions in _VJEPA1_POSITIONS:
        raise CheckpointError(
            f"{where}: 'pos_embed' has the {num_positions} positions of V-JEPA 1's files, whose weights use it and are not under "
            "V-JEPA 2's license: take positions sincos3d"
        )
    return "vjepa2"


def stored_encoder(
    tensors: Mapping[str, Tensor], version: Version, options: ImportOptions, where: str
) -> EncoderConfig:
    """The encoder's config, with the clip that its table of positions is for, else the given one or V-JEPA 2's.

    Raises:
        CheckpointError: A tensor that tells a size is missing, or the size is not known.
    """
    projection = require_tensor(tensors, "patch_embed.proj.weight", 5, where)
    width, _, tubelet_size, patch_size, _ = projection.shape
    hidden = require_tensor(tensors, "blocks.0.mlp.fc1.weight", 2, where).shape[0]
    depth = num_blocks(tensors, "blocks.")
    size = encoder_size(width, depth, hidden, options.num_heads, where)
    num_frames, crop_px = options.num_frames or 16, options.crop_px or 256
    if version == "vjepa1":
        grid = _grid_of_table(require_tensor(tensors, "pos_embed", 3, where), where)
        num_frames, crop_px = grid.frames * tubelet_size, grid.height * patch_size
    config = EncoderConfig(
        **size,
        tubelet_size=tubelet_size,
        patch_size=patch_size,
        num_frames=num_frames,
        crop_px=crop_px,
    )
    if version == "vjepa1":
        return replace(config, positions="sincos3d")
    if version == "vjepa2":
        return config
    remedy = "give the complete file: which blocks give levels is known of published encoders of V-JEPA 2.1 only"
    require_depth(depth, "blocks.", PUBLISHED_LEVELS, where, remedy)
    levels = PUBLISHED_LEVELS[depth]
    return replace(
        config, rope="interleaved", rope_side=PUBLISHED_SIDE, levels=levels, modality_embedding=True
    )


def require_table(tensors: Mapping[str, Tensor], name: str, grid: TubeletGrid, where: str) -> None:
    """Refuses a table of positions that is not V-JEPA 1's of this grid: learned ones would be lost.

    Raises:
        CheckpointError: Names the table.
    """
    table = require_tensor(tensors, name, 3, where)
    expected = sinusoid_table_3d(grid, table.shape[-1])
    if table[0].shape != expected.shape or not torch.allclose(
        table[0].float(), expected, atol=TABLE_TOLERANCE
    ):
        raise CheckpointError(_not_the_table(name, table, where))


def _grid_of_table(table: Tensor, where: str) -> TubeletGrid:
    """The grid whose fixed positions are in this table."""
    num_tokens, width = table.shape[-2:]
    for frames in range(1, num_tokens + 1):
        side = math.isqrt(num_tokens // frames)
        grid = TubeletGrid(frames, side, side)
        if grid.num_tokens == num_tokens and torch.allclose(
            table[0].float(), sinusoid_table_3d(grid, width), atol=TABLE_TOLERANCE
        ):
            return grid
    raise CheckpointError(_not_the_table("pos_embed", table, where))


def _not_the_table(name: str, table: Tensor, where: str) -> str:
    return (
        f"{where}: '{name}' is not V-JEPA 1's table of any grid with {table.shape[-2]} tubelets, so the positions were learned or "
        "are of another kind, which no network here has"
    )


def predictor_heads(version: Version, width: int, encoder: EncoderConfig) -> int | None:
    """Attention heads of the published predictors: none but those of width 384 is known."""
    if width != 384:
        return None
    return encoder.num_heads if version == "vjepa1" else 12


def predictor_depths(version: Version, width: int, encoder: EncoderConfig) -> tuple[int, ...]:
    """Blocks of the published predictors; none where no published one has this width. Version 2.1 has fewer for its ViT-B."""
    if width != 384:
        return ()
    return (24,) if version == "vjepa2.1" and encoder.depth > 12 else (12,)
