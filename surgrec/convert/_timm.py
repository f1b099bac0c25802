"""Convert timm's VisionTransformer: an encoder with sinusoids, applied to a still image.

The image is treated as one tubelet of equal frames. The convolution over a tubelet becomes its sum
over time. The sinusoids of the first tubelets along time, VideoMAE's flat ones or V-JEPA 1's,
become the position table that timm adds. No timm model has V-JEPA 2's rotary positions.
"""

from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange, reduce, repeat
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CONFIG_FILE, CheckpointFile
from surgrec.convert._converter import Converter, ModelFolder
from surgrec.convert._hf_config import config_number
from surgrec.convert._key_map import (
    KeyMap,
    check_complete,
    from_surgrec,
    named_tensors,
    num_blocks,
    same_blocks,
    to_surgrec,
)
from surgrec.convert._origin import origin_of
from surgrec.convert._pretrained import (
    NO_LICENSE_STATED,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
)
from surgrec.convert._shapes import encoder_size, require_tensor
from surgrec.convert._vjepa_names import other_formats
from surgrec.errors import CheckpointError, ConfigError
from surgrec.masks import TubeletGrid
from surgrec.models import EncoderConfig, State, blank_encoder
from surgrec.models.positions import TABLE_TOLERANCE, sinusoid_table, sinusoid_table_3d
from surgrec.normalize import RGB_MEAN, RGB_STD

ENCODER: KeyMap = {
    "patch_embed.proj": "patch_embed.proj",
    **same_blocks("blocks", "blocks"),
    "norm": "norm",
}
_PROJECTION, _TABLE = "patch_embed.proj.weight", "pos_embed"
_EXAMPLE = """\
import timm

model = timm.create_model("local-dir:FOLDER", pretrained=True)
features = model.forward_features(image)"""


def timm_state(state: State, config: EncoderConfig) -> dict[str, Float[Tensor, "..."]]:
    """Return the tensors of the image model of an encoder."""
    tensors = from_surgrec(state, ENCODER)
    tensors[_PROJECTION] = reduce(tensors[_PROJECTION], "d c t h w -> d c h w", "sum")
    return tensors | {_TABLE: rearrange(_position_table(config), "n d -> 1 n d")}


def _matches(file: CheckpointFile) -> bool:
    """Match a config with an architecture, or, without a config, a projection of images."""
    if file.config is not None:
        return "architecture" in file.config
    return getattr(file.content.get(_PROJECTION), "ndim", None) == 4


def _read(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    """Read an image model that SurgRec exported: a tubelet's frames share the convolution equally.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape, or the positions are
            not the fixed sinusoids.
    """
    context, tensors = file.name, named_tensors(file.content, file.name)
    config = _encoder_config(tensors, file.config or {}, options, context)
    blank = blank_encoder(config)
    expected = timm_state(blank, config)
    check_complete(tensors, expected, context)

    if not torch.allclose(tensors[_TABLE].float(), expected[_TABLE], atol=TABLE_TOLERANCE):
        raise CheckpointError(
            f"{context}: '{_TABLE}' differs from the fixed sinusoids of --positions "
            f"{config.positions}; give other --positions, or a model with fixed sinusoids, as "
            "learned positions cannot be imported"
        )

    frames = config.tubelet_size
    projection = repeat(tensors[_PROJECTION] / frames, "d c h w -> d c t h w", t=frames)
    stored = {**tensors, _PROJECTION: projection}
    given = {"num_frames": options.num_frames, "tubelet_size": options.tubelet_size}
    return Pretrained(
        origin=origin_of(file, "timm", options, NO_LICENSE_STATED),
        encoder=Component(config=config, state=to_surgrec(stored, blank, ENCODER, context)),
        extra=ExtraTensors(
            format="timm", tensors={name: tensors[name] for name in (_TABLE, _PROJECTION)}
        ),
        assumed={name: getattr(config, name) for name, value in given.items() if value is None},
    )


def _write(weights: Pretrained) -> ModelFolder:
    """Return the folder for `timm.create_model("local-dir:FOLDER")`, which averages the tokens.

    Raises:
        ConfigError: The encoder has rotary positions, levels or a modality embedding.
    """
    encoder = weights.encoder.config
    _require_additive_positions(encoder)

    tensors = timm_state(weights.encoder.state, encoder)
    if (extra := weights.extra_of("timm")) is not None:
        tensors |= extra.tensors

    return ModelFolder(
        files={CONFIG_FILE: _timm_config(encoder)},
        tensors=tensors,
        library="timm",
        example=_EXAMPLE,
        notes=[
            "This image model gives the video encoder's features of a still image, repeated for "
            f"the {encoder.tubelet_size} frames of a tubelet."
        ],
    )


def _require_additive_positions(encoder: EncoderConfig) -> None:
    """Raise unless the encoder only adds a position table to its tokens, as timm does."""
    if encoder.positions == "rope":
        feature = "has rotary positions (positions rope)"
    elif encoder.levels or encoder.modality_embedding:
        feature = "has levels or a modality embedding"
    else:
        return
    raise ConfigError(
        f"timm's VisionTransformer supports only additive position embeddings, but this encoder "
        f"{feature}, so its features would differ; {other_formats(encoder)}"
    )


def _timm_config(encoder: EncoderConfig) -> dict[str, Any]:
    return {
        "architecture": "vit_base_patch16_224",  # selects the class; the arguments set its sizes
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
            "crop_pct": 1.0,  # the largest square of a frame, as in `surgrec features`
            "mean": list(RGB_MEAN),
            "std": list(RGB_STD),
            "num_classes": 0,
            "pool_size": None,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }


def _position_table(config: EncoderConfig) -> Float[Tensor, "n d"]:
    """Return the positions of the first tubelets along time."""
    grid = config.grid
    if config.positions == "sincos3d":
        return sinusoid_table_3d(TubeletGrid(1, grid.height, grid.width), config.width)
    return sinusoid_table(grid.height * grid.width, config.width)


def _encoder_config(
    tensors: Mapping[str, Tensor], config: Mapping[str, Any], options: ImportOptions, context: str
) -> EncoderConfig:
    width, _, patch_size, _ = require_tensor(tensors, _PROJECTION, 4, context).shape
    hidden = require_tensor(tensors, "blocks.0.mlp.fc1.weight", 2, context).shape[0]
    side = round(require_tensor(tensors, _TABLE, 3, context).shape[1] ** 0.5)

    num_heads = options.num_heads
    arguments = config.get("model_args")
    if num_heads is None and isinstance(arguments, dict) and "num_heads" in arguments:
        num_heads = config_number(arguments, "num_heads", 1, context)

    return EncoderConfig(
        **encoder_size(width, num_blocks(tensors, "blocks."), hidden, num_heads, context),
        patch_size=patch_size,
        tubelet_size=options.tubelet_size or 2,
        num_frames=options.num_frames or 16,
        crop_px=side * patch_size,
        positions=options.positions if options.positions == "sincos3d" else "sincos",
    )


TIMM = Converter(matches=_matches, read=_read, write=_write)
