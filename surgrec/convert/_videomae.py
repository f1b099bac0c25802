"""Convert VideoMAE's checkpoints, v1 and v2: encoder and decoder in one pickle.

Their entry is `model`, or `module` if DeepSpeed wrote the file. Queries and values have biases,
keys have none: without rotary positions, a key bias adds the same to all scores of a query and
has no effect. Positions are computed, not stored.

Source: the published checkpoints and scripts of MCG-NJU/VideoMAE and OpenGVLab/VideoMAEv2.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT, CheckpointFile
from surgrec.convert._converter import Converter, TorchFile
from surgrec.convert._key_map import (
    BLOCK_MODULES,
    KeyMap,
    check_complete,
    from_surgrec,
    is_named_tensors,
    num_blocks,
    to_surgrec,
)
from surgrec.convert._origin import origin_of, skipped_entries
from surgrec.convert._pretrained import (
    NO_LICENSE_STATED,
    NON_COMMERCIAL,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
)
from surgrec.convert._shapes import (
    blank_decoder,
    encoder_size,
    require_depth,
    require_tensor,
)
from surgrec.convert._vjepa_names import other_formats
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import DecoderConfig, EncoderConfig, State, blank_encoder
from surgrec.models.encoder import EncoderSize

Version: TypeAlias = Literal["videomae", "videomae2"]


def _blocks(format_blocks: str) -> dict[str, str | tuple[str | None, ...]]:
    same_names = {
        f"blocks.*.{name}": f"{format_blocks}.*.{name}"
        for name in BLOCK_MODULES
        if name != "attn.qkv"
    }
    attention = f"{format_blocks}.*.attn"
    return {
        **same_names,
        "blocks.*.attn.qkv.weight": f"{attention}.qkv.weight",
        "blocks.*.attn.qkv.bias": (f"{attention}.q_bias", None, f"{attention}.v_bias"),
    }


ENCODER: KeyMap = {
    "patch_embed.proj": "encoder.patch_embed.proj",
    **_blocks("encoder.blocks"),
    "norm": "encoder.norm",
}
DECODER: KeyMap = {
    "encoder_to_decoder": "encoder_to_decoder",
    "mask_token": "mask_token",
    **_blocks("decoder.blocks"),
    "norm": "decoder.norm",
    "head": "decoder.head",
}

GIANT: EncoderSize = {"width": 1408, "depth": 40, "num_heads": 16, "mlp_ratio": 48 / 11}
"""VideoMAE v2's ViT-g has another number of heads than V-JEPA 2's."""

DECODER_HEADS = {192: 3, 384: 6, 512: 8, 640: 8}
"""Published numbers of heads, by the decoder's width."""

DECODER_DEPTHS = {192: (4,), 384: (4,), 512: (4, 12), 640: (4, 12)}
"""Published numbers of blocks, by the decoder's width: wide decoders have 12 in v1; all decoders
have 4 in v2."""

LICENSES: dict[Version, str] = {"videomae": NON_COMMERCIAL, "videomae2": NO_LICENSE_STATED}
"""Licenses of the weights. v1's repository, weights included, is under CC BY-NC 4.0. v2's code is
under the MIT license, but its pretrained weights are provided on request by a form
(OpenGVLab/VideoMAEv2, docs/MODEL_ZOO.md) that states no license for them."""

_KEYS = ("model", "module")
_TRAINING = {
    "optimizer": "the optimizer's state",
    "scaler": "the loss scaler's state",
    "model_ema": "an average that pretraining does not use",
}


def _matches(file: CheckpointFile) -> bool:
    names = (*_KEYS, "encoder.blocks.0.norm1.weight")
    return file.config is None and any(name in file.content for name in names)


def read_videomae(file: CheckpointFile, options: ImportOptions) -> Pretrained:
    """Read a VideoMAE pretraining checkpoint.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape, or the model was
            fine-tuned and lacks the norm after its encoder.
    """
    context, content = file.name, file.content
    key = next((name for name in _KEYS if name in content), None)
    tensors, prefix = _split_prefix(content if key is None else content[key], context)

    encoder_tensors = {
        name: tensor for name, tensor in tensors.items() if name.startswith("encoder.")
    }
    decoder_tensors = {
        name: tensor for name, tensor in tensors.items() if name not in encoder_tensors
    }

    config = _encoder_config(encoder_tensors, options, context)
    blank = blank_encoder(config)
    check_complete(encoder_tensors, from_surgrec(blank, ENCODER), f"{context}, encoder")
    decoder, left_out = _read_decoder(decoder_tensors, config, options, f"{context}, decoder")
    if key is not None:
        left_out += skipped_entries(content, {key}, _TRAINING, context)

    version = _version(content, config, decoder)
    given = {
        "num_heads": options.num_heads,
        "num_frames": options.num_frames,
        "crop_px": options.crop_px,
    }
    return Pretrained(
        origin=origin_of(file, version, options, LICENSES[version], key=key, left_out=left_out),
        encoder=Component(
            config=config, state=to_surgrec(encoder_tensors, blank, ENCODER, context)
        ),
        decoder=decoder,
        extra=ExtraTensors(
            format="videomae",
            entry=key or _KEYS[0],
            bare=key is None,
            prefixes={key or _KEYS[0]: prefix},
            tensors=decoder_tensors if decoder is None else {},
        ),
        assumed={name: getattr(config, name) for name, value in given.items() if value is None},
    )


def write_videomae(weights: Pretrained) -> TorchFile:
    """Return a VideoMAE checkpoint; imported weights keep the entry and prefix of their file.

    Raises:
        ConfigError: The encoder's positions differ from VideoMAE's.
    """
    require_flat_sinusoids(weights.encoder.config, "VideoMAE")

    tensors = from_surgrec(weights.encoder.state, ENCODER)
    if weights.decoder is not None:
        tensors |= decoder_from_surgrec(weights.decoder.state)

    extra = weights.extra_of("videomae") or ExtraTensors(format="videomae")
    tensors |= extra.tensors
    entry = extra.entry or _KEYS[0]
    prefix = extra.prefixes.get(entry, "")
    return TorchFile(
        entries={entry: {prefix + name: tensor for name, tensor in tensors.items()}},
        heads=("decoder",) if weights.decoder else (),
        bare=extra.bare,
    )


def require_flat_sinusoids(config: EncoderConfig, model: str) -> None:
    """Raise if a model with flat sinusoids would compute other features than this encoder.

    Raises:
        ConfigError: Names the encoder's positions.
    """
    more = " with levels or a modality embedding"
    more = more if config.levels or config.modality_embedding else ""
    if config.positions != "sincos" or more:
        raise ConfigError(
            f"{model} adds flat sinusoids to its tokens, but this encoder has positions "
            f"{config.positions}{more}, so its features would differ; {other_formats(config)}"
        )


def decoder_from_surgrec(
    state: State, key_map: KeyMap = DECODER
) -> dict[str, Float[Tensor, "..."]]:
    """Return a decoder's tensors by the format's names."""
    tensors = from_surgrec(state, key_map)
    tensors["mask_token"] = rearrange(tensors["mask_token"], "d -> 1 1 d")
    return tensors


def decoder_to_surgrec(
    tensors: State, blank: State, context: str, key_map: KeyMap = DECODER
) -> dict[str, Float[Tensor, "..."]]:
    """Return a decoder's tensors by SurgRec's names, which `blank` has."""
    state = to_surgrec(tensors, blank, key_map, context)
    state["mask_token"] = rearrange(state["mask_token"], "1 1 d -> d")
    return state


def _split_prefix(entry: object, context: str) -> tuple[dict[str, Tensor], str]:
    """Return an entry's tensors without DistributedDataParallel's prefix, and that prefix."""
    if not is_named_tensors(entry):
        raise CheckpointError(
            f"{context} has no named tensors under '{_KEYS[0]}' or '{_KEYS[1]}', where "
            f"VideoMAE's files have them; {NAME_THE_FORMAT}"
        )

    prefix = "module." if all(name.startswith("module.") for name in entry) else ""
    tensors = {name.removeprefix(prefix): tensor for name, tensor in entry.items()}
    if "fc_norm.weight" in tensors:
        raise CheckpointError(
            f"{context} has 'fc_norm.weight', so the model was fine-tuned and has no norm after "
            "its encoder; give a pretrained file"
        )
    return tensors, prefix


def _encoder_config(
    tensors: Mapping[str, Tensor], options: ImportOptions, context: str
) -> EncoderConfig:
    projection = require_tensor(tensors, "encoder.patch_embed.proj.weight", 5, context)
    width, _, tubelet_size, patch_size, _ = projection.shape
    hidden = require_tensor(tensors, "encoder.blocks.0.mlp.fc1.weight", 2, context).shape[0]

    blocks = "encoder.blocks."
    depth = num_blocks(tensors, blocks)
    size = encoder_size(width, depth, hidden, options.num_heads, context, GIANT, blocks=blocks)
    return EncoderConfig(
        **size,
        tubelet_size=tubelet_size,
        patch_size=patch_size,
        num_frames=options.num_frames or 16,
        crop_px=options.crop_px or 224,
        positions="sincos",
    )


def _read_decoder(
    tensors: Mapping[str, Tensor], encoder: EncoderConfig, options: ImportOptions, context: str
) -> tuple[Component[DecoderConfig] | None, list[SkippedTensors]]:
    """Return the decoder, or None and the reason if its number of heads is unknown."""
    if not tensors:
        return None, []

    width = require_tensor(tensors, "encoder_to_decoder.weight", 2, context).shape[0]
    num_heads = options.decoder_heads or DECODER_HEADS.get(width)
    if num_heads is None:
        why = f"its number of heads is unknown: no published decoder has width {width}"
        return None, [SkippedTensors(name="decoder", why=why, tensors=len(tensors), kept=True)]

    hidden = require_tensor(tensors, "decoder.blocks.0.mlp.fc1.weight", 2, context).shape[0]
    depth = num_blocks(tensors, "decoder.blocks.")
    if depth != options.decoder_depth:
        remedy = (
            f"give the complete file, or --decoder_depth {depth} if that is right (in a recipe "
            "--objective.decoder.depth)"
        )
        require_depth(depth, "decoder.blocks.", DECODER_DEPTHS.get(width, ()), context, remedy)

    config = DecoderConfig(width=width, depth=depth, num_heads=num_heads, mlp_ratio=hidden / width)
    blank = blank_decoder(config, encoder)
    check_complete(tensors, decoder_from_surgrec(blank), context)
    return Component(config=config, state=decoder_to_surgrec(tensors, blank, context)), []


def _version(
    content: Mapping[str, Any], encoder: EncoderConfig, decoder: Component[DecoderConfig] | None
) -> Version:
    """Return the version that published a file; v1, whose license is stated, if it could be either.

    Only v2's arguments have a mask for the decoder. Only v2 published ViT-g, and decoders of 4
    blocks for ViT-L and ViT-H.
    """
    if hasattr(content.get("args"), "decoder_mask_type"):
        return "videomae2"
    shallow = decoder is not None and decoder.config.width >= 512 and decoder.config.depth == 4
    return "videomae2" if encoder.width == GIANT["width"] or shallow else "videomae"


VIDEOMAE = Converter(matches=_matches, read=read_videomae, write=write_videomae)
