"""Convert Hugging Face's VideoMAE: tensor names, configs and known problems.

- Files store `q_bias` and `v_bias`, as every published checkpoint does, but no key bias. A key
  bias adds the same to all scores of a query, so without rotary positions it has no effect.
- transformers 5.7 to 5.17 silently drop these biases: use 5.19 or later, or a version before 5.6.
- The model has the norm after its last block only with `use_mean_pooling: false`.
- Its configs have `layer_norm_eps: 1e-12`, transformers' default. The weights were trained with
  1e-6, which networks here use and exports state. Features differ by less than 1e-5.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CONFIG_FILE, CheckpointFile
from surgrec.convert._converter import ModelFolder
from surgrec.convert._hf_config import (
    EXACT_GELU,
    config_number,
    dtype_name,
    processor_config,
    require_values,
)
from surgrec.convert._key_map import KeyMap, check_complete, from_surgrec, named_tensors, to_surgrec
from surgrec.convert._origin import origin_of
from surgrec.convert._pretrained import (
    NON_COMMERCIAL,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
)
from surgrec.convert._shapes import blank_decoder
from surgrec.convert._videomae import (
    decoder_from_surgrec,
    decoder_to_surgrec,
    require_flat_sinusoids,
)
from surgrec.errors import CheckpointError
from surgrec.models import DecoderConfig, EncoderConfig, State, blank_encoder
from surgrec.models.blocks import NORM_EPS


def _blocks(format_blocks: str) -> dict[str, str | tuple[str | None, ...]]:
    attention = f"{format_blocks}.*.attention.attention"
    return {
        "blocks.*.norm1": f"{format_blocks}.*.layernorm_before",
        "blocks.*.attn.qkv.weight": (
            f"{attention}.query.weight",
            f"{attention}.key.weight",
            f"{attention}.value.weight",
        ),
        "blocks.*.attn.qkv.bias": (f"{attention}.q_bias", None, f"{attention}.v_bias"),
        "blocks.*.attn.proj": f"{format_blocks}.*.attention.output.dense",
        "blocks.*.norm2": f"{format_blocks}.*.layernorm_after",
        "blocks.*.mlp.fc1": f"{format_blocks}.*.intermediate.dense",
        "blocks.*.mlp.fc2": f"{format_blocks}.*.output.dense",
    }


ENCODER: KeyMap = {
    "patch_embed.proj": "videomae.embeddings.patch_embeddings.projection",
    **_blocks("videomae.encoder.layer"),
    "norm": "videomae.layernorm",
}
DECODER: KeyMap = {
    "encoder_to_decoder": "encoder_to_decoder",
    "mask_token": "mask_token",
    **_blocks("decoder.decoder_layers"),
    "norm": "decoder.norm",
    "head": "decoder.head",
}

_MODEL_PREFIX = "videomae."
_DECODER_PREFIXES = ("decoder.", "encoder_to_decoder.", "mask_token")
_ALLOWED_VALUES = {
    "hidden_act": EXACT_GELU,
    "qkv_bias": (True,),
    "qv_bias": (True,),
    "num_channels": (3,),
    "layer_norm_eps": (1e-12, NORM_EPS),
}
_EXAMPLE = """\
from transformers import AutoImageProcessor, AutoModel  # 5.19 or later; 5.7 to 5.17 drop biases

processor = AutoImageProcessor.from_pretrained("FOLDER")
model = AutoModel.from_pretrained("FOLDER")
features = model(**processor(list(video), return_tensors="pt")).last_hidden_state"""


def hf_videomae_state(
    encoder: State, decoder: State | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """Return the tensors of a VideoMAEForPreTraining, or of a VideoMAEModel without a decoder.

    Args:
        encoder: State of an encoder with `sincos` positions.
        decoder: State of its decoder. Without it, names lack the prefix `videomae.`, as
            VideoMAEModel stores them.
    """
    tensors = from_surgrec(encoder, ENCODER)
    if decoder is None:
        return {name.removeprefix(_MODEL_PREFIX): tensor for name, tensor in tensors.items()}
    return tensors | decoder_from_surgrec(decoder, DECODER)


def read_hf_videomae(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    """Read a folder that VideoMAEForPreTraining or VideoMAEModel saved.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape, or the model was
            fine-tuned and lacks the norm after its encoder.
    """
    context, config = file.name, file.config or {}
    tensors = named_tensors(file.content, context)

    if config.get("use_mean_pooling", True):
        raise CheckpointError(
            f"{context}: 'use_mean_pooling' in config.json is true, so the model was fine-tuned "
            "and has no norm after its encoder; give a pretrained model"
        )
    require_values(config, _ALLOWED_VALUES, context)
    encoder = _encoder_config(config, context)
    if options.crop_px not in (None, encoder.crop_px):
        raise CheckpointError(
            f"{context}: 'image_size' in config.json is {encoder.crop_px}, but crop_px is "
            f"{options.crop_px}, and flat sinusoids belong to one frame size; set crop_px to "
            f"{encoder.crop_px}"
        )

    # VideoMAEModel stores its tensors without its prefix; a folder may also have them with it.
    has_decoder = any(name.startswith(_DECODER_PREFIXES) for name in tensors)
    if not has_decoder:
        tensors = {name.removeprefix(_MODEL_PREFIX): tensor for name, tensor in tensors.items()}

    blank = blank_encoder(encoder)
    decoder_config = _decoder_config(config, context) if has_decoder else None
    decoder_blank = blank_decoder(decoder_config, encoder) if decoder_config else None
    check_complete(tensors, hf_videomae_state(blank, decoder_blank), context)

    decoder = None
    if decoder_config is not None and decoder_blank is not None:
        decoder_state = decoder_to_surgrec(tensors, decoder_blank, context, DECODER)
        decoder = Component(config=decoder_config, state=decoder_state)
    else:
        tensors = {_MODEL_PREFIX + name: tensor for name, tensor in tensors.items()}

    return Pretrained(
        origin=origin_of(file, "hf-videomae", options, NON_COMMERCIAL),
        encoder=Component(
            config=replace(encoder, num_frames=options.num_frames or encoder.num_frames),
            state=to_surgrec(tensors, blank, ENCODER, context),
        ),
        decoder=decoder,
        extra=ExtraTensors(format="hf"),
    )


def write_hf_videomae(weights: Pretrained) -> ModelFolder:
    """Return the folder of a VideoMAEForPreTraining, or of a VideoMAEModel without a decoder.

    Raises:
        ConfigError: The encoder's positions differ from VideoMAE's.
    """
    encoder, decoder = weights.encoder.config, weights.decoder
    require_flat_sinusoids(encoder, "VideoMAE")

    config: dict[str, Any] = {
        "architectures": ["VideoMAEModel" if decoder is None else "VideoMAEForPreTraining"],
        "model_type": "videomae",
        "image_size": encoder.crop_px,
        "patch_size": encoder.patch_size,
        "num_frames": encoder.num_frames,
        "tubelet_size": encoder.tubelet_size,
        "hidden_size": encoder.width,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.num_heads,
        "intermediate_size": round(encoder.width * encoder.mlp_ratio),
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layer_norm_eps": NORM_EPS,
        "use_mean_pooling": False,
        "norm_pix_loss": True,
        "dtype": dtype_name(weights.encoder.state),
    }
    notes = []
    if decoder is not None:
        config |= {
            "decoder_hidden_size": decoder.config.width,
            "decoder_num_hidden_layers": decoder.config.depth,
            "decoder_num_attention_heads": decoder.config.num_heads,
            "decoder_intermediate_size": round(decoder.config.width * decoder.config.mlp_ratio),
        }
        notes.append(
            "The decoder is for AutoModelForPreTraining. AutoModel does not load it and reports "
            "its weights as unexpected."
        )

    return ModelFolder(
        files={
            CONFIG_FILE: config,
            "preprocessor_config.json": {
                "image_processor_type": "VideoMAEImageProcessor",
                **processor_config(encoder.crop_px),
            },
        },
        tensors=hf_videomae_state(weights.encoder.state, decoder.state if decoder else None),
        library="transformers",
        example=_EXAMPLE,
        notes=notes,
        heads=("decoder",) if decoder else (),
    )


def _encoder_config(config: Mapping[str, Any], context: str) -> EncoderConfig:
    width = config_number(config, "hidden_size", 768, context)
    return EncoderConfig(
        width=width,
        depth=config_number(config, "num_hidden_layers", 12, context),
        num_heads=config_number(config, "num_attention_heads", 12, context),
        mlp_ratio=config_number(config, "intermediate_size", 3072, context) / width,
        patch_size=config_number(config, "patch_size", 16, context),
        tubelet_size=config_number(config, "tubelet_size", 2, context),
        num_frames=config_number(config, "num_frames", 16, context),
        crop_px=config_number(config, "image_size", 224, context),
        positions="sincos",
    )


def _decoder_config(config: Mapping[str, Any], context: str) -> DecoderConfig:
    width = config_number(config, "decoder_hidden_size", 384, context)
    return DecoderConfig(
        width=width,
        depth=config_number(config, "decoder_num_hidden_layers", 4, context),
        num_heads=config_number(config, "decoder_num_attention_heads", 6, context),
        mlp_ratio=config_number(config, "decoder_intermediate_size", 1536, context) / width,
    )
