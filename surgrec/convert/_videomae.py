"""VideoMAE's checkpoints, of v1 and v2: encoder and decoder in one pickle, under `model` or, of DeepSpeed, `module`.

There are biases of queries and values but none of keys, which would change nothing: without rotary positions it adds the same to
all scores of a query. The positions are computed, not stored.
Source: the published checkpoints and scripts of MCG-NJU/VideoMAE and OpenGVLab/VideoMAEv2.
"""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._key_map import (
    BLOCK_MODULES,
    KeyMap,
    check_complete,
    from_surgrec,
    is_named_tensors,
    num_blocks,
    to_surgrec,
)
from surgrec.convert._pretrained import (
    NON_COMMERCIAL,
    UNSTATED,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
    origin_of,
    skipped_tensors,
)
from surgrec.convert._shapes import (
    blank_decoder,
    blank_encoder,
    encoder_size,
    require_depth,
    require_tensor,
)
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models import DecoderConfig, EncoderConfig, State
from surgrec.models.encoder import EncoderSize


def _blocks(theirs: str) -> dict[str, str | tuple[str | None, ...]]:
    return {
        **{
            f"blocks.*.{name}": f"{theirs}.*.{name}" for name in BLOCK_MODULES if name != "attn.qkv"
        },
        "blocks.*.attn.qkv.weight": f"{theirs}.*.attn.qkv.weight",
        "blocks.*.attn.qkv.bias": (f"{theirs}.*.attn.q_bias", None, f"{theirs}.*.attn.v_bias"),
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
"""VideoMAE v2's ViT-g has other heads than V-JEPA 2's."""

DECODER_HEADS = {192: 3, 384: 6, 512: 8, 640: 8}
"""Published numbers of heads, by the decoder's width."""

DECODER_DEPTHS = {192: (4,), 384: (4,), 512: (4, 12), 640: (4, 12)}
"""Published numbers of blocks, by the decoder's width: the wide ones have 12 in v1, and every one has 4 in v2."""

Version: TypeAlias = Literal["videomae", "videomae2"]

LICENSES: dict[Version, str] = {"videomae": NON_COMMERCIAL, "videomae2": UNSTATED}
"""Of the weights. v1's repository is under CC BY-NC 4.0 with all in it. v2's code is under the MIT license, but its pretrained
weights are handed out upon a form (OpenGVLab/VideoMAEv2, docs/MODEL_ZOO.md) that states none for them."""

_KEYS = ("model", "module")
_TRAINING = {
    "optimizer": "the optimizer's state",
    "scaler": "the loss scaler's state",
    "model_ema": "an average that pretraining does not use",
}


def read_videomae(container: CheckpointFile, options: ImportOptions) -> Pretrained:
    """The weights of a VideoMAE pretraining checkpoint.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the model was fine-tuned and lost its last norm.
    """
    where, content = container.name, container.content
    key = next((name for name in _KEYS if name in content), None)
    found, prefix = _tensors(content if key is None else content[key], where)
    encoder_found = {name: tensor for name, tensor in found.items() if name.startswith("encoder.")}
    decoder_found = {name: tensor for name, tensor in found.items() if name not in encoder_found}
    config = _encoder_config(encoder_found, options, where)
    blank = blank_encoder(config)
    check_complete(encoder_found, from_surgrec(blank, ENCODER), f"{where}, encoder")
    decoder, left_out = _read_decoder(decoder_found, config, options, f"{where}, decoder")
    remainder = ExtraTensors(
        format="videomae",
        entry=key or _KEYS[0],
        bare=key is None,
        prefixes={key or _KEYS[0]: prefix},
        tensors=decoder_found if decoder is None else {},
    )
    if key is not None:
        left_out += skipped_tensors(content, {key}, _TRAINING, where)
    version = _version(content, config, decoder)
    given = {
        "num_heads": options.num_heads,
        "num_frames": options.num_frames,
        "crop_px": options.crop_px,
    }
    return Pretrained(
        origin=origin_of(
            container, version, options, LICENSES[version], key=key, left_out=left_out
        ),
        encoder=Component(config=config, state=to_surgrec(encoder_found, blank, ENCODER)),
        decoder=decoder,
        remainder=remainder,
        assumed={name: getattr(config, name) for name, value in given.items() if value is None},
    )


def videomae_content(weights: Pretrained) -> dict[str, dict[str, Float[Tensor, "..."]]]:
    """The entries of a VideoMAE checkpoint.

    Raises:
        ConfigError: The encoder's positions are not VideoMAE's.
    """
    require_flat_sinusoids(weights.encoder.config, "VideoMAE")
    tensors = from_surgrec(weights.encoder.state, ENCODER)
    if weights.decoder is not None:
        tensors |= decoder_tensors(weights.decoder.state)
    remainder = weights.remainder
    if remainder is None or remainder.format != "videomae":
        return {_KEYS[0]: tensors}
    entry = remainder.entry or _KEYS[0]
    prefix = remainder.prefixes.get(entry, "")
    return {
        entry: {
            prefix + name: tensor for name, tensor in (tensors | dict(remainder.tensors)).items()
        }
    }


def require_flat_sinusoids(config: EncoderConfig, model: str) -> None:
    """Refuses an encoder that a model with flat sinusoids would read wrongly.

    Raises:
        ConfigError: Says what its positions are.
    """
    if config.positions != "sincos" or config.levels or config.modality_embedding:
        more = (
            " with levels or a modality embedding"
            if config.levels or config.modality_embedding
            else ""
        )
        raise ConfigError(
            f"{model} computes flat sinusoids and adds them to its tokens, and this encoder has positions {config.positions}"
            f"{more}, so its features would be others there; export it as vjepa"
        )


def decoder_tensors(state: State, key_map: KeyMap = DECODER) -> dict[str, Float[Tensor, "..."]]:
    """A decoder's tensors by their names."""
    tensors = from_surgrec(state, key_map)
    tensors["mask_token"] = rearrange(tensors["mask_token"], "d -> 1 1 d")
    return tensors


def decoder_state(
    tensors: State, blank: State, key_map: KeyMap = DECODER
) -> dict[str, Float[Tensor, "..."]]:
    """A decoder's tensors by our names: all those of `blank`."""
    state = to_surgrec(tensors, blank, key_map)
    state["mask_token"] = rearrange(state["mask_token"], "1 1 d -> d")
    return state


def _tensors(entry: object, where: str) -> tuple[dict[str, Tensor], str]:
    """An entry's tensors without the prefix of DistributedDataParallel, and that prefix where there was one."""
    if not is_named_tensors(entry):
        raise CheckpointError(
            f"{where} has no named tensors where VideoMAE's files have them (model, module)"
        )
    prefix = "module." if all(name.startswith("module.") for name in entry) else ""
    found = {name.removeprefix(prefix): tensor for name, tensor in entry.items()}
    if "fc_norm.weight" in found:
        raise CheckpointError(
            f"{where} has 'fc_norm.weight', so it was fine-tuned and has no norm after the encoder; give a pretrained file"
        )
    return found, prefix


def _encoder_config(
    found: Mapping[str, Tensor], options: ImportOptions, where: str
) -> EncoderConfig:
    projection = require_tensor(found, "encoder.patch_embed.proj.weight", 5, where)
    width, _, tubelet_size, patch_size, _ = projection.shape
    blocks = "encoder.blocks."
    hidden = require_tensor(found, "encoder.blocks.0.mlp.fc1.weight", 2, where).shape[0]
    size = encoder_size(
        width, num_blocks(found, blocks), hidden, options.num_heads, where, GIANT, blocks=blocks
    )
    return EncoderConfig(
        **size,
        tubelet_size=tubelet_size,
        patch_size=patch_size,
        num_frames=options.num_frames or 16,
        crop_px=options.crop_px or 224,
        positions="sincos",
    )


def _read_decoder(
    found: Mapping[str, Tensor], encoder: EncoderConfig, options: ImportOptions, where: str
) -> tuple[Component[DecoderConfig] | None, list[SkippedTensors]]:
    """The decoder; None where the file has none, or where its number of heads is not known."""
    if not found:
        return None, []
    width = require_tensor(found, "encoder_to_decoder.weight", 2, where).shape[0]
    num_heads = options.decoder_heads or DECODER_HEADS.get(width)
    if num_heads is None:
        why = f"its number of heads is not known: no published decoder has width {width}"
        return None, [SkippedTensors(name="decoder", why=why, tensors=len(found), kept=True)]
    hidden = require_tensor(found, "decoder.blocks.0.mlp.fc1.weight", 2, where).shape[0]
    depth = num_blocks(found, "decoder.blocks.")
    if depth != options.decoder_depth:
        remedy = f"give the complete file, or decoder depth {depth} if so many are meant"
        require_depth(depth, "decoder.blocks.", DECODER_DEPTHS.get(width, ()), where, remedy)
    config = DecoderConfig(width=width, depth=depth, num_heads=num_heads, mlp_ratio=hidden / width)
    blank = blank_decoder(config, encoder)
    check_complete(found, decoder_tensors(blank), where)
    return Component(config=config, state=decoder_state(found, blank)), []


def _version(
    content: Mapping[str, Any], encoder: EncoderConfig, decoder: Component[DecoderConfig] | None
) -> Version:
    """Which version published this: v2's arguments tell of a mask for the decoder; it alone has ViT-g, and ViT-L and ViT-H with
    few blocks to decode. What could be either counts as v1, whose license is stated.
    """
    if hasattr(content.get("args"), "decoder_mask_type"):
        return "videomae2"
    few = decoder is not None and decoder.config.width >= 512 and decoder.config.depth == 4
    return "videomae2" if encoder.width == GIANT["width"] or few else "videomae"
