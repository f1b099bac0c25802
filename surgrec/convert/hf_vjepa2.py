"""Hugging Face's VJEPA2Model (transformers 4.53 or later): names of weights, configs, and what to watch.

- The model takes the rotary grid from `crop_size` of its config and never looks at the clip's: another size needs another config.
- It turns with `tiled` positions only.
- Its predictor takes mask token 1 where nobody says otherwise, so every slot should hold a trained one.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._hf_config import (
    EXACT_GELU,
    checked,
    config_value,
    cut_ratio,
    dtype_name,
    mlp_ratio,
)
from surgrec.convert._key_map import BLOCK_MODULES, KeyMap, check_complete, from_surgrec, to_surgrec
from surgrec.convert._pretrained import (
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
    origin_of,
)
from surgrec.convert._shapes import blank_encoder, blank_predictor
from surgrec.convert._vjepa_names import vjepa_version
from surgrec.convert._vjepa_write import NUM_MASK_TOKENS
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig, PredictorConfig, State
from surgrec.models.blocks import NORM_EPS
from surgrec.models.predictor import fit_mask_tokens
from surgrec.normalize import RGB_MEAN, RGB_STD


def _blocks(ours: str, theirs: str) -> dict[str, str | tuple[str | None, ...]]:
    qkv = tuple(f"{theirs}.*.attention.{part}" for part in ("query", "key", "value"))
    plain = {
        f"{ours}.*.{name}": f"{theirs}.*.{name.replace('attn.', 'attention.')}"
        for name in BLOCK_MODULES
    }
    return {**plain, f"{ours}.*.attn.qkv": qkv}


ENCODER: KeyMap = {
    "patch_embed.proj": "encoder.embeddings.patch_embeddings.proj",
    **_blocks("blocks", "encoder.layer"),
    "norm": "encoder.layernorm",
}
PREDICTOR: KeyMap = {
    "predictor_embed": "predictor.embeddings.predictor_embeddings",
    "mask_tokens": "predictor.embeddings.mask_tokens",
    **_blocks("predictor_blocks", "predictor.layer"),
    "predictor_norm": "predictor.layernorm",
    "predictor_proj": "predictor.proj",
}
NO_PREDICTOR = PredictorConfig(width=12, depth=0, num_heads=1)
"""Stands where there is none: without one of some kind, VJEPA2Model does not load."""

_HEADS = {"pooler.": "a head for classification", "classifier.": "a head for classification"}


def hf_vjepa2_state(
    encoder: State, predictor: State | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """The tensors of a VJEPA2Model. Without a predictor, `VJEPA2Model.forward` needs `skip_predictor=True`.

    Args:
        encoder: The state of ours, with `tiled` rotary positions.
        predictor: The state of ours.
    """
    tensors = from_surgrec(encoder, ENCODER)
    if predictor is not None:
        tensors |= from_surgrec(predictor, PREDICTOR)
        tokens = PREDICTOR["mask_tokens"]
        assert isinstance(tokens, str)
        tensors[tokens] = rearrange(tensors[tokens], "m d -> m 1 1 d")
    return tensors


def hf_vjepa2_model(weights: Pretrained) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """config.json and tensors of a VJEPA2Model. Where there is no predictor, an empty one of zeros stands in its place; where
    one mask token was trained, it is in every slot.

    Raises:
        ConfigError: The encoder is none of V-JEPA 2's.
    """
    encoder = weights.encoder.config
    _require_vjepa2(encoder)
    if weights.predictor is None:
        blank = blank_predictor(NO_PREDICTOR, encoder, 1)
        empty = {name: torch.zeros(tensor.shape) for name, tensor in blank.items()}
        predictor = Component(config=NO_PREDICTOR, state=empty)
    else:
        predictor = _with_trained_tokens(weights.predictor, weights.remainder)
    config = {
        "architectures": ["VJEPA2Model"],
        "model_type": "vjepa2",
        "patch_size": encoder.patch_size,
        "crop_size": encoder.crop_px,
        "frames_per_clip": encoder.num_frames,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": encoder.width,
        "num_attention_heads": encoder.num_heads,
        "num_hidden_layers": encoder.depth,
        "mlp_ratio": cut_ratio(encoder.width, encoder.mlp_ratio),
        "layer_norm_eps": NORM_EPS,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "pred_hidden_size": predictor.config.width,
        "pred_num_attention_heads": predictor.config.num_heads,
        "pred_num_hidden_layers": predictor.config.depth,
        "pred_mlp_ratio": cut_ratio(predictor.config.width, predictor.config.mlp_ratio),
        "pred_num_mask_tokens": len(predictor.state["mask_tokens"]),
        "pred_zero_init_mask_tokens": True,
        "dtype": dtype_name(weights.encoder.state),
    }
    return config, hf_vjepa2_state(weights.encoder.state, predictor.state)


def vjepa2_processor(encoder: EncoderConfig) -> dict[str, Any]:
    """The config of VJEPA2VideoProcessor: the shorter side to 8/7 of the crop, the center, ImageNet's statistics."""
    return {
        "video_processor_type": "VJEPA2VideoProcessor",
        "do_resize": True,
        "size": {"shortest_edge": int(encoder.crop_px * 256 / 224)},
        "do_center_crop": True,
        "crop_size": {"height": encoder.crop_px, "width": encoder.crop_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(RGB_MEAN),
        "image_std": list(RGB_STD),
    }


def read_hf_vjepa2(container: CheckpointFile, options: ImportOptions) -> Pretrained:
    """The weights of a folder that `VJEPA2Model.save_pretrained` wrote, or one of its models with a head.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the config asks for what no encoder here has.
    """
    where, config = container.name, container.config or {}
    wanted = {
        "hidden_act": EXACT_GELU,
        "qkv_bias": (True,),
        "in_chans": (3,),
        "layer_norm_eps": (NORM_EPS,),
    }
    checked(config, wanted, where)
    encoder = _encoder_config(config, where)
    found = {name.removeprefix("vjepa2."): tensor for name, tensor in container.content.items()}
    heads = [name for name in found if name.startswith(tuple(_HEADS))]
    left_out = [
        SkippedTensors(name=name, why="of a head for classification", tensors=1) for name in heads
    ]
    found = {name: tensor for name, tensor in found.items() if name not in heads}
    width = config_value(config, "pred_hidden_size", 384, where)
    predictor = PredictorConfig(
        width=width,
        depth=config_value(config, "pred_num_hidden_layers", 12, where, least=0),
        num_heads=config_value(config, "pred_num_attention_heads", 12, where),
        mlp_ratio=mlp_ratio(config, "pred_", width, where),
    )
    num_mask_tokens = config_value(config, "pred_num_mask_tokens", 10, where)
    if predictor.depth == 0:
        tensors = sum(name.startswith("predictor.") for name in found)
        left_out.append(
            SkippedTensors(
                name="predictor", why="it has no blocks and only fills its place", tensors=tensors
            )
        )
    blanks = blank_encoder(encoder), blank_predictor(predictor, encoder, num_mask_tokens)
    check_complete(found, hf_vjepa2_state(*blanks), where)
    return Pretrained(
        origin=origin_of(container, "hf-vjepa2", options, "MIT", left_out=left_out),
        encoder=Component(
            config=_with_clip(encoder, options), state=to_surgrec(found, blanks[0], ENCODER)
        ),
        predictor=Component(config=predictor, state=_predictor_state(found, blanks[1]))
        if predictor.depth
        else None,
        remainder=ExtraTensors(format="hf"),
    )


def _with_trained_tokens(
    predictor: Component[PredictorConfig], remainder: ExtraTensors | None
) -> Component[PredictorConfig]:
    """The predictor with a trained mask token in each of the published slots; one of transformers' own stays as it is."""
    tokens = predictor.state["mask_tokens"]
    if remainder is not None and remainder.format == "hf":
        return predictor
    slots = NUM_MASK_TOKENS["vjepa2"] if predictor.config.shared_mask_token else len(tokens)
    return replace(
        predictor, state={**predictor.state, "mask_tokens": fit_mask_tokens(tokens, slots)[0]}
    )


def _require_vjepa2(encoder: EncoderConfig) -> None:
    version = vjepa_version(encoder)
    if version != "vjepa2":
        raise ConfigError(
            f"transformers has V-JEPA 2 only, with tiled rotary positions, and this encoder is {version}'s (positions "
            f"{encoder.positions}, rope {encoder.rope}); export it as vjepa"
        )


def _encoder_config(config: Mapping[str, Any], where: str) -> EncoderConfig:
    width = config_value(config, "hidden_size", 1024, where)
    return EncoderConfig(
        width=width,
        depth=config_value(config, "num_hidden_layers", 24, where),
        num_heads=config_value(config, "num_attention_heads", 16, where),
        mlp_ratio=mlp_ratio(config, "", width, where),
        patch_size=config_value(config, "patch_size", 16, where),
        tubelet_size=config_value(config, "tubelet_size", 2, where),
        num_frames=config_value(config, "frames_per_clip", 64, where),
        crop_px=config_value(config, "crop_size", 256, where),
    )


def _with_clip(encoder: EncoderConfig, options: ImportOptions) -> EncoderConfig:
    frames, crop_px = options.num_frames or encoder.num_frames, options.crop_px or encoder.crop_px
    return replace(encoder, num_frames=frames, crop_px=crop_px)


def _predictor_state(found: State, blank: State) -> dict[str, Float[Tensor, "..."]]:
    state = to_surgrec(found, blank, PREDICTOR)
    state["mask_tokens"] = rearrange(state["mask_tokens"], "m 1 1 d -> m d")
    return state
