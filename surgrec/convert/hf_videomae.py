"""Hugging Face's VideoMAE: names of weights, configs, and what to watch.

- On disk there are `q_bias` and `v_bias`, as in every published checkpoint. Between them stands no key bias, and none is missed:
  it adds the same to all scores of a query where no rotation follows.
- transformers 5.7 to 5.17 lose those biases without a word: use 5.19 or later, or one before 5.6.
- Only with `use_mean_pooling: false` does the model have the norm after its last block.
- Its configs say `layer_norm_eps: 1e-12`, transformers' default; the weights were trained with 1e-6, which networks here have and
  exports say. Features differ by less than 1e-5.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._hf_config import EXACT_GELU, checked, config_value, dtype_name
from surgrec.convert._key_map import KeyMap, check_complete, from_surgrec, to_surgrec
from surgrec.convert._pretrained import (
    NON_COMMERCIAL,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    origin_of,
)
from surgrec.convert._shapes import blank_decoder, blank_encoder
from surgrec.convert._videomae import decoder_state, decoder_tensors, require_flat_sinusoids
from surgrec.errors import CheckpointError
from surgrec.models import DecoderConfig, EncoderConfig, State
from surgrec.models.blocks import NORM_EPS
from surgrec.normalize import RGB_MEAN, RGB_STD


def _blocks(theirs: str) -> dict[str, str | tuple[str | None, ...]]:
    attention = f"{theirs}.*.attention.attention"
    return {
        "blocks.*.norm1": f"{theirs}.*.layernorm_before",
        "blocks.*.attn.qkv.weight": (
            f"{attention}.query.weight",
            f"{attention}.key.weight",
            f"{attention}.value.weight",
        ),
        "blocks.*.attn.qkv.bias": (f"{attention}.q_bias", None, f"{attention}.v_bias"),
        "blocks.*.attn.proj": f"{theirs}.*.attention.output.dense",
        "blocks.*.norm2": f"{theirs}.*.layernorm_after",
        "blocks.*.mlp.fc1": f"{theirs}.*.intermediate.dense",
        "blocks.*.mlp.fc2": f"{theirs}.*.output.dense",
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
EPS = (1e-12, NORM_EPS)
"""What `layer_norm_eps` may be."""

_OWN_PREFIX = "videomae."
_OF_DECODER = ("decoder.", "encoder_to_decoder.", "mask_token")


def hf_videomae_state(
    encoder: State, decoder: State | None = None
) -> dict[str, Float[Tensor, "..."]]:
    """The tensors of a VideoMAEForPreTraining, from the states of our `sincos` encoder and decoder; of a VideoMAEModel, which
    names them without the model's own prefix, from an encoder alone.
    """
    tensors = from_surgrec(encoder, ENCODER)
    if decoder is None:
        return {name.removeprefix(_OWN_PREFIX): tensor for name, tensor in tensors.items()}
    return tensors | decoder_tensors(decoder, DECODER)


def hf_videomae_model(
    weights: Pretrained,
) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """config.json and tensors of a VideoMAEForPreTraining; of a VideoMAEModel where there is no decoder.

    Raises:
        ConfigError: The encoder's positions are not VideoMAE's.
    """
    encoder, decoder = weights.encoder.config, weights.decoder
    require_flat_sinusoids(encoder, "VideoMAE")
    config = {
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
    if decoder is None:
        return config, hf_videomae_state(weights.encoder.state)
    config |= {
        "decoder_hidden_size": decoder.config.width,
        "decoder_num_hidden_layers": decoder.config.depth,
        "decoder_num_attention_heads": decoder.config.num_heads,
        "decoder_intermediate_size": round(decoder.config.width * decoder.config.mlp_ratio),
    }
    return config, hf_videomae_state(weights.encoder.state, decoder.state)


def videomae_processor(encoder: EncoderConfig) -> dict[str, Any]:
    """The config of VideoMAEImageProcessor: the shorter side to the crop, the center, ImageNet's statistics."""
    return {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": encoder.crop_px},
        "do_center_crop": True,
        "crop_size": {"height": encoder.crop_px, "width": encoder.crop_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(RGB_MEAN),
        "image_std": list(RGB_STD),
    }


def read_hf_videomae(container: CheckpointFile, options: ImportOptions) -> Pretrained:
    """The weights of a folder that VideoMAEForPreTraining or VideoMAEModel saved.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the model was fine-tuned and lost its last norm.
    """
    where, config = container.name, container.config or {}
    if config.get("use_mean_pooling", True):
        raise CheckpointError(
            f"{where}: 'use_mean_pooling' of its config.json is true, so it was fine-tuned and has no norm after the encoder; "
            "give a pretrained model"
        )
    wanted = {
        "hidden_act": EXACT_GELU,
        "qkv_bias": (True,),
        "qv_bias": (True,),
        "num_channels": (3,),
    }
    checked(config, {**wanted, "layer_norm_eps": EPS}, where)
    encoder = _encoder_config(config, where)
    # VideoMAEModel saves itself without its prefix; a folder may hold it with the prefix too.
    bare = not any(name.startswith(_OF_DECODER) for name in container.content)
    found = {
        name.removeprefix(_OWN_PREFIX) if bare else name: tensor
        for name, tensor in container.content.items()
    }
    decoder = None if bare else _decoder_config(config, where)
    blank, blank_of_decoder = (
        blank_encoder(encoder),
        blank_decoder(decoder, encoder) if decoder else None,
    )
    check_complete(found, hf_videomae_state(blank, blank_of_decoder), where)
    if options.crop_px not in (None, encoder.crop_px):
        raise CheckpointError(
            f"{where}: 'image_size' of its config.json is {encoder.crop_px}, and flat sinusoids mean other places at crop_px "
            f"{options.crop_px}; set crop_px to the file's"
        )
    named = {f"{_OWN_PREFIX}{name}": tensor for name, tensor in found.items()} if bare else found
    return Pretrained(
        origin=origin_of(container, "hf-videomae", options, NON_COMMERCIAL),
        encoder=Component(
            config=replace(encoder, num_frames=options.num_frames or encoder.num_frames),
            state=to_surgrec(named, blank, ENCODER),
        ),
        decoder=(
            Component(config=decoder, state=decoder_state(found, blank_of_decoder, DECODER))
            if decoder is not None and blank_of_decoder is not None
            else None
        ),
        remainder=ExtraTensors(format="hf"),
    )


def _encoder_config(config: Mapping[str, Any], where: str) -> EncoderConfig:
    width = config_value(config, "hidden_size", 768, where)
    return EncoderConfig(
        width=width,
        depth=config_value(config, "num_hidden_layers", 12, where),
        num_heads=config_value(config, "num_attention_heads", 12, where),
        mlp_ratio=config_value(config, "intermediate_size", 3072, where) / width,
        patch_size=config_value(config, "patch_size", 16, where),
        tubelet_size=config_value(config, "tubelet_size", 2, where),
        num_frames=config_value(config, "num_frames", 16, where),
        crop_px=config_value(config, "image_size", 224, where),
        positions="sincos",
    )


def _decoder_config(config: Mapping[str, Any], where: str) -> DecoderConfig:
    width = config_value(config, "decoder_hidden_size", 384, where)
    return DecoderConfig(
        width=width,
        depth=config_value(config, "decoder_num_hidden_layers", 4, where),
        num_heads=config_value(config, "decoder_num_attention_heads", 6, where),
        mlp_ratio=config_value(config, "decoder_intermediate_size", 1536, where) / width,
    )
