"""timm's VisionTransformer: what an encoder with sinusoids does to a still image, seen as a tubelet of equal frames.

The convolution over a tubelet becomes its sum over time, and the sinusoids of the first tubelets along time, VideoMAE's flat ones
or V-JEPA 1's, are the table of positions that timm adds. No model of timm has rotary positions as V-JEPA 2's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._hf_config import config_value
from surgrec.convert._key_map import (
    KeyMap,
    check_complete,
    from_surgrec,
    num_blocks,
    same_blocks,
    to_surgrec,
)
from surgrec.convert._pretrained import (
    UNSTATED,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    origin_of,
)
from surgrec.convert._shapes import blank_encoder, encoder_size, require_tensor
from surgrec.errors import CheckpointError, ConfigError
from surgrec.masks import TubeletGrid
from surgrec.models import EncoderConfig, State
from surgrec.models.positions import TABLE_TOLERANCE, sinusoid_table, sinusoid_table_3d
from surgrec.normalize import RGB_MEAN, RGB_STD

ENCODER: KeyMap = {
    "patch_embed.proj": "patch_embed.proj",
    **same_blocks("blocks", "blocks"),
    "norm": "norm",
}
_PROJECTION, _TABLE = "patch_embed.proj.weight", "pos_embed"


def timm_state(state: State, config: EncoderConfig) -> dict[str, Float[Tensor, "..."]]:
    """The tensors of the image model."""
    tensors = from_surgrec(state, ENCODER)
    tensors[_PROJECTION] = reduce(tensors[_PROJECTION], "d c t h w -> d c h w", "sum")
    return tensors | {_TABLE: rearrange(_table(config), "n d -> 1 n d")}


def timm_model(weights: Pretrained) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """config.json and tensors of a folder for `timm.create_model("local-dir:FOLDER")`; its features are the tokens' mean.

    Raises:
        ConfigError: The encoder's positions are rotary, or it has more than one kind of output.
    """
    encoder = weights.encoder.config
    if encoder.positions == "rope" or encoder.levels or encoder.modality_embedding:
        found = (
            "adds levels or a modality embedding"
            if encoder.positions != "rope"
            else "turns queries and keys (positions rope)"
        )
        raise ConfigError(
            f"timm's VisionTransformer adds a table of positions to its tokens and nothing more, and this encoder {found}, so its "
            "features would be others there; export it as hf or vjepa"
        )
    config = {
        "architecture": "vit_base_patch16_224",  # only the class: all that it fixes is set below
        "num_classes": 0,
        "num_features": encoder.width,
        "global_pool": "avg",
        "model_args": {
            "img_size": encoder.crop_px,
            "patch_size": encoder.patch_size,
            "embed_dim": encoder.width,
            "depth": encoder.depth,
            "num_heads": encoder.num_heads,
            "mlp_ratio": encoder.mlp_ratio,
            "class_token": False,
            "global_pool": "avg",
            "fc_norm": False,
        },
        "pretrained_cfg": {
            "input_size": [3, encoder.crop_px, encoder.crop_px],
            "fixed_input_size": True,
            "interpolation": "bilinear",
            "crop_pct": 224 / 256,
            "mean": list(RGB_MEAN),
            "std": list(RGB_STD),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    tensors = timm_state(weights.encoder.state, encoder)
    if weights.remainder is not None and weights.remainder.format == "timm":
        tensors |= weights.remainder.tensors
    return config, tensors


def read_timm(container: CheckpointFile, options: ImportOptions) -> Pretrained:
    """The weights of an image model that `timm_model` gave: each frame of a tubelet has an equal share of the convolution.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the positions are not the fixed sinusoids.
    """
    where, found = container.name, container.content
    config = _encoder_config(found, container.config or {}, options, where)
    blank = blank_encoder(config)
    expected = timm_state(blank, config)
    check_complete(found, expected, where)
    if not torch.allclose(found[_TABLE].float(), expected[_TABLE], atol=TABLE_TOLERANCE):
        raise CheckpointError(
            f"{where}: 'pos_embed' is not the table of fixed sinusoids of positions {config.positions}, so its positions were "
            "learned, which no encoder here has, or are of another kind: name the positions"
        )
    shared = repeat(
        found[_PROJECTION] / config.tubelet_size, "d c h w -> d c t h w", t=config.tubelet_size
    )
    names = {name for name in found if name != _TABLE}
    given = {"num_frames": options.num_frames, "tubelet_size": options.tubelet_size}
    return Pretrained(
        origin=origin_of(container, "timm", options, UNSTATED),
        encoder=Component(
            config=config,
            state=to_surgrec(
                {name: found[name] for name in names} | {_PROJECTION: shared}, blank, ENCODER
            ),
        ),
        remainder=ExtraTensors(
            format="timm", tensors={name: found[name] for name in (_TABLE, _PROJECTION)}
        ),
        assumed={name: getattr(config, name) for name, value in given.items() if value is None},
    )


def _table(config: EncoderConfig) -> Float[Tensor, "n d"]:
    """The positions of the first tubelets along time."""
    grid = config.grid
    if config.positions == "sincos3d":
        return sinusoid_table_3d(TubeletGrid(1, grid.height, grid.width), config.width)
    return sinusoid_table(grid.height * grid.width, config.width)


def _encoder_config(
    found: Mapping[str, Any], config: Mapping[str, Any], options: ImportOptions, where: str
) -> EncoderConfig:
    width, _, patch_size, _ = require_tensor(found, _PROJECTION, 4, where).shape
    hidden = require_tensor(found, "blocks.0.mlp.fc1.weight", 2, where).shape[0]
    side = round(require_tensor(found, _TABLE, 3, where).shape[1] ** 0.5)
    arguments = config.get("model_args")
    num_heads = options.num_heads
    if num_heads is None and isinstance(arguments, dict) and "num_heads" in arguments:
        num_heads = config_value(arguments, "num_heads", 1, where)
    return EncoderConfig(
        **encoder_size(width, num_blocks(found, "blocks."), hidden, num_heads, where),
        patch_size=patch_size,
        tubelet_size=options.tubelet_size or 2,
        num_frames=options.num_frames or 16,
        crop_px=side * patch_size,
        positions=options.positions if options.positions == "sincos3d" else "sincos",
    )
