"""Infer version and sizes of a V-JEPA checkpoint from its tensors.

The user distinguishes versions 1 and 2: both publish a position table, which version 2 ignores.
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

_VJEPA1_TABLE_SIZES = (8 * 14 * 14, 8 * 24 * 24)
"""Tubelets in 16 frames of 224 and of 384 pixels, of which only version 1 published tables."""

_PUBLISHED_PREDICTOR_WIDTH = 384


def stored_version(tensors: Mapping[str, Tensor], options: ImportOptions, context: str) -> Version:
    """Return the version of an encoder's tensors, whose names lack the wrappers' prefix.

    Raises:
        CheckpointError: It is 1 or 2, and `options` has no positions or the wrong ones.
    """
    if "norms_block.0.weight" in tensors:
        return "vjepa2.1"
    if "pos_embed" not in tensors:
        return "vjepa2"
    if options.positions is None:
        raise CheckpointError(
            f"{context} has a table 'pos_embed', as files of V-JEPA 1 and of V-JEPA 2 do; give "
            "--positions sincos3d for version 1, or --positions rope for version 2"
        )
    if options.positions == "sincos3d":
        return "vjepa1"

    num_positions = tensors["pos_embed"].shape[-2]
    if num_positions in _VJEPA1_TABLE_SIZES:
        raise CheckpointError(
            f"{context}: 'pos_embed' has {num_positions} positions, as in V-JEPA 1, whose license "
            "differs from V-JEPA 2's; give --positions sincos3d to import it as V-JEPA 1"
        )
    return "vjepa2"


def stored_encoder(
    tensors: Mapping[str, Tensor], version: Version, options: ImportOptions, context: str
) -> EncoderConfig:
    """Return the encoder's config.

    The clip is that of the position table in version 1, else the given one, else V-JEPA 2's.

    Raises:
        CheckpointError: A tensor that gives a size is missing, or the size is unknown.
    """
    projection = require_tensor(tensors, "patch_embed.proj.weight", 5, context)
    width, _, tubelet_size, patch_size, _ = projection.shape
    hidden = require_tensor(tensors, "blocks.0.mlp.fc1.weight", 2, context).shape[0]
    depth = num_blocks(tensors, "blocks.")
    size = encoder_size(width, depth, hidden, options.num_heads, context)

    num_frames, crop_px = options.num_frames or 16, options.crop_px or 256
    if version == "vjepa1":
        grid = _grid_of_table(require_tensor(tensors, "pos_embed", 3, context), context)
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

    remedy = "give the complete file, as levels are known only for published depths of V-JEPA 2.1"
    require_depth(depth, "blocks.", PUBLISHED_LEVELS, context, remedy)
    return replace(
        config,
        rope="interleaved",
        rope_side=PUBLISHED_SIDE,
        levels=PUBLISHED_LEVELS[depth],
        modality_embedding=True,
    )


def require_table(
    tensors: Mapping[str, Tensor], name: str, grid: TubeletGrid, context: str
) -> None:
    """Raise unless a position table is V-JEPA 1's of this grid: learned positions would be lost.

    Raises:
        CheckpointError: Names the table.
    """
    table = require_tensor(tensors, name, 3, context)
    if not _is_table_of(table, grid):
        raise CheckpointError(_unknown_table(name, table, context))


def predictor_heads(version: Version, width: int, encoder: EncoderConfig) -> int | None:
    """Return the heads of the published predictor of this width; None if none was published."""
    if width != _PUBLISHED_PREDICTOR_WIDTH:
        return None
    return encoder.num_heads if version == "vjepa1" else 12


def predictor_depths(version: Version, width: int, encoder: EncoderConfig) -> tuple[int, ...]:
    """Return the published numbers of predictor blocks; none for another width than the published.

    Version 2.1 has fewer blocks for its ViT-B than for larger encoders.
    """
    if width != _PUBLISHED_PREDICTOR_WIDTH:
        return ()
    return (24,) if version == "vjepa2.1" and encoder.depth > 12 else (12,)


def _grid_of_table(table: Tensor, context: str) -> TubeletGrid:
    """Return the grid whose fixed positions are in a table."""
    num_tokens = table.shape[-2]
    for frames in range(1, num_tokens + 1):
        side = math.isqrt(num_tokens // frames)
        grid = TubeletGrid(frames, side, side)
        if grid.num_tokens == num_tokens and _is_table_of(table, grid):
            return grid
    raise CheckpointError(_unknown_table("pos_embed", table, context))


def _is_table_of(table: Tensor, grid: TubeletGrid) -> bool:
    expected = sinusoid_table_3d(grid, table.shape[-1])
    same_shape = table[0].shape == expected.shape
    return same_shape and torch.allclose(table[0].float(), expected, atol=TABLE_TOLERANCE)


def _unknown_table(name: str, table: Tensor, context: str) -> str:
    return (
        f"{context}: '{name}' differs from V-JEPA 1's tables of all grids with {table.shape[-2]} "
        "tubelets, so its positions were learned or are of another kind; give a file with fixed "
        "positions"
    )
