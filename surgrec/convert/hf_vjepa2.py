"""Convert Hugging Face's VJEPA2Model (transformers 4.53 or later): names, configs, known problems.

- The model takes the grid of rotary positions from `crop_size` of its config, whatever the size of
  the clip: frames of another size need another config.
- Its rotary positions are the `tiled` ones only.
- VJEPA2VideoProcessor always resizes the shorter side to 8/7 of the crop, whatever its config says,
  and so cuts off the border. Exports name LlavaNextVideoVideoProcessor, which resizes and crops as
  its config says.
- Its predictor uses mask token 1 by default, so every slot should hold a trained token.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CONFIG_FILE, CheckpointFile
from surgrec.convert._converter import ModelFolder
from surgrec.convert._hf_config import (
    EXACT_GELU,
    config_number,
    dtype_name,
    processor_config,
    read_mlp_ratio,
    require_values,
    write_mlp_ratio,
)
from surgrec.convert._key_map import (
    BLOCK_MODULES,
    KeyMap,
    check_complete,
    from_surgrec,
    named_tensors,
    to_surgrec,
)
from surgrec.convert._origin import origin_of
from surgrec.convert._pretrained import (
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
)
from surgrec.convert._shapes import blank_predictor
from surgrec.convert._vjepa_names import NUM_MASK_TOKENS, vjepa_version
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig, PredictorConfig, State, blank_encoder
from surgrec.models.blocks import NORM_EPS
from surgrec.models.predictor import fit_mask_tokens


def _blocks(blocks: str, format_blocks: str) -> dict[str, str | tuple[str | None, ...]]:
    qkv = tuple(f"{format_blocks}.*.attention.{part}" for part in ("query", "key", "value"))
    same_order = {
        f"{blocks}.*.{name}": f"{format_blocks}.*.{name.replace('attn.', 'attention.')}"
        for name in BLOCK_MODULES
    }
    return {**same_order, f"{blocks}.*.attn.qkv": qkv}


_MASK_TOKENS = "predictor.embeddings.mask_tokens"
ENCODER: KeyMap = {
    "patch_embed.proj": "encoder.embeddings.patch_embeddings.proj",
    **_blocks("blocks", "encoder.layer"),
    "norm": "encoder.layernorm",
}
PREDICTOR: KeyMap = {
    "predictor_embed": "predictor.embeddings.predictor_embeddings",
    "mask_tokens": _MASK_TOKENS,
    **_blocks("predictor_blocks", "predictor.layer"),
    "predictor_norm": "predictor.layernorm",
    "predictor_proj": "predictor.proj",
}

EMPTY_PREDICTOR = PredictorConfig(width=12, depth=0, num_heads=1)
"""Written for an encoder without a predictor: VJEPA2Model does not load without one."""

_CLASSIFIER_PREFIXES = ("pooler.", "classifier.")
_ALLOWED_VALUES = {
    "hidden_act": EXACT_GELU,
    "qkv_bias": (True,),
    "in_chans": (3,),
    "layer_norm_eps": (NORM_EPS,),
}
_EXAMPLE = """\
from transformers import AutoModel, AutoVideoProcessor  # 4.53 or later

processor = AutoVideoProcessor.from_pretrained("FOLDER")
model = AutoModel.from_pretrained("FOLDER")
features = model(**processor(video, return_tensors="pt"), skip_predictor=True).last_hidden_state"""


def hf_vjepa2_state(
    encoder: State, predictor: State | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """Return the tensors of a VJEPA2Model.

    Args:
        encoder: State of an encoder with `tiled` rotary positions.
        predictor: State of its predictor. Without it, call the model with `skip_predictor=True`.
    """
    tensors = from_surgrec(encoder, ENCODER)
    if predictor is not None:
        tensors |= from_surgrec(predictor, PREDICTOR)
        tensors[_MASK_TOKENS] = rearrange(tensors[_MASK_TOKENS], "m d -> m 1 1 d")
    return tensors


def read_hf_vjepa2(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    """Read a folder that VJEPA2Model, or one of its models with a classification head, saved.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape, or the config asks
            for something that no encoder here has.
    """
    context, config = file.name, file.config or {}
    tensors = named_tensors(file.content, context)
    require_values(config, _ALLOWED_VALUES, context)
    encoder = _encoder_config(config, context)
    predictor_config = _predictor_config(config, context)
    num_mask_tokens = config_number(config, "pred_num_mask_tokens", 10, context)

    # Split off a classification head; its models put a prefix before all other names.
    tensors = {name.removeprefix("vjepa2."): tensor for name, tensor in tensors.items()}
    classifier = [name for name in tensors if name.startswith(_CLASSIFIER_PREFIXES)]
    left_out = [
        SkippedTensors(name=name, why="part of a classification head", tensors=1)
        for name in classifier
    ]
    tensors = {name: tensor for name, tensor in tensors.items() if name not in classifier}

    if predictor_config.depth == 0:
        count = sum(name.startswith("predictor.") for name in tensors)
        why = "an empty predictor, without which the model does not load"
        left_out.append(SkippedTensors(name="predictor", why=why, tensors=count))

    blank = blank_encoder(encoder)
    predictor_blank = blank_predictor(predictor_config, encoder, num_mask_tokens)
    check_complete(tensors, hf_vjepa2_state(blank, predictor_blank), context)

    predictor = None
    if predictor_config.depth:
        state = _predictor_to_surgrec(tensors, predictor_blank, context)
        predictor = Component(config=predictor_config, state=state)

    return Pretrained(
        origin=origin_of(file, "hf-vjepa2", options, "MIT", left_out=left_out),
        encoder=Component(
            config=replace(
                encoder,
                num_frames=options.num_frames or encoder.num_frames,
                crop_px=options.crop_px or encoder.crop_px,
            ),
            state=to_surgrec(tensors, blank, ENCODER, context),
        ),
        predictor=predictor,
        extra=ExtraTensors(format="hf"),
    )


def write_hf_vjepa2(weights: Pretrained) -> ModelFolder:
    """Return the folder of a VJEPA2Model.

    A missing predictor is replaced by an empty one of zeros. Trained mask tokens fill all slots.

    Raises:
        ConfigError: The encoder is not one of V-JEPA 2.
    """
    encoder = weights.encoder.config
    _require_vjepa2(encoder)

    notes = [
        "The model takes its grid of positions from `crop_size` in config.json. Change it to use "
        "frames of another size.",
        "Load the processor with AutoVideoProcessor. VJEPA2VideoProcessor ignores the config: it "
        "always cuts off an eighth of the shorter side.",
    ]
    if weights.predictor is None:
        predictor = _empty_predictor(encoder)
        notes.append(
            "These weights have no predictor. An empty one of zeros is included, because the model "
            "does not load without one."
        )
    else:
        predictor = _with_trained_mask_tokens(weights.predictor, weights)

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
        "mlp_ratio": write_mlp_ratio(encoder.width, encoder.mlp_ratio),
        "layer_norm_eps": NORM_EPS,
        "qkv_bias": True,
        "hidden_act": "gelu",
        "pred_hidden_size": predictor.config.width,
        "pred_num_attention_heads": predictor.config.num_heads,
        "pred_num_hidden_layers": predictor.config.depth,
        "pred_mlp_ratio": write_mlp_ratio(predictor.config.width, predictor.config.mlp_ratio),
        "pred_num_mask_tokens": len(predictor.state["mask_tokens"]),
        "pred_zero_init_mask_tokens": True,
        "dtype": dtype_name(weights.encoder.state),
    }
    return ModelFolder(
        files={
            CONFIG_FILE: config,
            "video_preprocessor_config.json": {
                "video_processor_type": "LlavaNextVideoVideoProcessor",
                **processor_config(encoder.crop_px),
            },
        },
        tensors=hf_vjepa2_state(weights.encoder.state, predictor.state),
        library="transformers",
        example=_EXAMPLE,
        notes=notes,
        heads=("predictor",) if weights.predictor else (),
    )


def _require_vjepa2(encoder: EncoderConfig) -> None:
    version = vjepa_version(encoder)
    if version != "vjepa2":
        raise ConfigError(
            "transformers has only V-JEPA 2, with tiled rotary positions, but this encoder is of "
            f"{version} (positions {encoder.positions}, rope {encoder.rope}); export it as vjepa"
        )


def _encoder_config(config: Mapping[str, Any], context: str) -> EncoderConfig:
    width = config_number(config, "hidden_size", 1024, context)
    return EncoderConfig(
        width=width,
        depth=config_number(config, "num_hidden_layers", 24, context),
        num_heads=config_number(config, "num_attention_heads", 16, context),
        mlp_ratio=read_mlp_ratio(config, "", width, context),
        patch_size=config_number(config, "patch_size", 16, context),
        tubelet_size=config_number(config, "tubelet_size", 2, context),
        num_frames=config_number(config, "frames_per_clip", 64, context),
        crop_px=config_number(config, "crop_size", 256, context),
    )


def _predictor_config(config: Mapping[str, Any], context: str) -> PredictorConfig:
    width = config_number(config, "pred_hidden_size", 384, context)
    return PredictorConfig(
        width=width,
        depth=config_number(config, "pred_num_hidden_layers", 12, context, least=0),
        num_heads=config_number(config, "pred_num_attention_heads", 12, context),
        mlp_ratio=read_mlp_ratio(config, "pred_", width, context),
    )


def _predictor_to_surgrec(
    tensors: State, blank: State, context: str
) -> dict[str, Float[Tensor, "..."]]:
    state = to_surgrec(tensors, blank, PREDICTOR, context)
    state["mask_tokens"] = rearrange(state["mask_tokens"], "m 1 1 d -> m d")
    return state


def _empty_predictor(encoder: EncoderConfig) -> Component[PredictorConfig]:
    blank = blank_predictor(EMPTY_PREDICTOR, encoder, num_mask_tokens=1)
    zeros = {name: torch.zeros(tensor.shape) for name, tensor in blank.items()}
    return Component(config=EMPTY_PREDICTOR, state=zeros)


def _with_trained_mask_tokens(
    predictor: Component[PredictorConfig], weights: Pretrained
) -> Component[PredictorConfig]:
    """Return the predictor with trained tokens in all slots; one from transformers is unchanged."""
    if weights.extra_of("hf") is not None:
        return predictor

    tokens = predictor.state["mask_tokens"]
    num_slots = NUM_MASK_TOKENS["vjepa2"] if predictor.config.shared_mask_token else len(tokens)
    trained, _ = fit_mask_tokens(tokens, num_slots)
    return replace(predictor, state={**predictor.state, "mask_tokens": trained})
