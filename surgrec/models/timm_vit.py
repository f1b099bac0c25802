"""timm's VisionTransformer: what a VideoMAE encoder does to a still image, seen as a tubelet of equal frames.

The convolution over a tubelet becomes its sum over time, and the sinusoids of the first tubelets along time are the table of
positions. No other model of timm is a video encoder of ours, and none has rotary positions as V-JEPA's.
"""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from surgrec.clips.augment import RGB_MEAN, RGB_STD
from surgrec.errors import CheckpointError
from surgrec.models.containers import Container
from surgrec.models.encoder import EncoderConfig
from surgrec.models.key_map import KeyMap, State, check_complete, from_foreign, num_blocks, same_blocks, to_foreign
from surgrec.models.positions import sinusoid_table
from surgrec.models.pretrained import Part, Pretrained, Unstored, origin_of
from surgrec.models.sizes import blank_encoder, encoder_size, require_tensor
from surgrec.models.videomae import require_flat_sinusoids

ENCODER: KeyMap = {"patch_embed.proj": "patch_embed.proj", **same_blocks("blocks", "blocks"), "norm": "norm"}
_PROJECTION, _TABLE = "patch_embed.proj.weight", "pos_embed"


def timm_state(state: State, config: EncoderConfig) -> dict[str, Float[Tensor, "..."]]:
    """The tensors of the image model."""
    tensors = to_foreign(state, ENCODER)
    tensors[_PROJECTION] = reduce(tensors[_PROJECTION], "d c t h w -> d c h w", "sum")
    table = sinusoid_table(config.grid.height * config.grid.width, config.width)
    return tensors | {_TABLE: rearrange(table, "n d -> 1 n d")}


def timm_model(weights: Pretrained) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """config.json and tensors of a folder for `timm.create_model("local-dir:FOLDER")`; its features are the tokens' mean.

    Raises:
        ConfigError: The encoder's positions are not flat sinusoids.
    """
    encoder = weights.encoder.config
    require_flat_sinusoids(encoder, "timm's VisionTransformer")
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
    return config, timm_state(weights.encoder.state, encoder)


def read_timm(container: Container, unstored: Unstored) -> Pretrained:
    """The weights of an image model that `timm_model` gave: each frame of a tubelet has an equal share of the convolution.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the positions are not the fixed sinusoids.
    """
    where, found = container.name, container.content
    config = _encoder_config(found, container.config or {}, unstored, where)
    blank = blank_encoder(config)
    expected = timm_state(blank, config)
    check_complete(found, expected, where)
    if not torch.allclose(found[_TABLE], expected[_TABLE], atol=1e-5):
        raise CheckpointError(
            f"{where}: 'pos_embed' is not the table of fixed sinusoids, so its positions were learnt, which no encoder here has"
        )
    shared = repeat(found[_PROJECTION] / config.tubelet_size, "d c h w -> d c t h w", t=config.tubelet_size)
    names = {name for name in found if name != _TABLE}
    given = {"num_frames": unstored.num_frames, "tubelet_size": unstored.tubelet_size}
    return Pretrained(
        origin=origin_of(container, "timm", unstored, None),
        encoder=Part(
            config=config,
            state=from_foreign({name: found[name] for name in names} | {_PROJECTION: shared}, blank, ENCODER),
        ),
        assumed={name: getattr(config, name) for name, value in given.items() if value is None},
    )


def _encoder_config(
    found: Mapping[str, Any], config: Mapping[str, Any], unstored: Unstored, where: str
) -> EncoderConfig:
    width, _, patch_size, _ = require_tensor(found, _PROJECTION, 4, where).shape
    hidden = require_tensor(found, "blocks.0.mlp.fc1.weight", 2, where).shape[0]
    side = round(require_tensor(found, _TABLE, 3, where).shape[1] ** 0.5)
    num_heads = unstored.num_heads or config.get("model_args", {}).get("num_heads")
    return EncoderConfig(
        **encoder_size(width, num_blocks(found, "blocks."), hidden, num_heads, where),
        patch_size=patch_size,
        tubelet_size=unstored.tubelet_size or 2,
        num_frames=unstored.num_frames or 16,
        crop_px=side * patch_size,
        positions="sincos",
    )
