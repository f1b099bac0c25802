"""V-JEPA's names of weights, of versions 1, 2 and 2.1, and which of our encoders each version has.

Version 1 adds fixed positions that are stored with the weights; version 2 turns queries and keys instead; version 2.1 has norms
for several levels, and vectors that tell images from videos.
Source: the published checkpoints and configs of facebookresearch/jepa and facebookresearch/vjepa2.
"""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._key_map import KeyMap, from_surgrec, same_blocks, to_surgrec
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig, State
from surgrec.models.positions import sinusoid_table_3d

Version: TypeAlias = Literal["vjepa1", "vjepa2", "vjepa2.1"]

ENCODER: KeyMap = {
    "patch_embed.proj": "patch_embed.proj",
    **same_blocks("blocks", "blocks"),
    "norm": "norm",
    "level_norms.*": "norms_block.*",
    "modality_embed": "video_mod_embed",
}
PREDICTOR: KeyMap = {
    "predictor_embed": "predictor_embed",
    "predictor_embed.*": "predictor_embed.*",
    "mask_tokens.*": "mask_tokens.*",
    **same_blocks("predictor_blocks", "predictor_blocks"),
    "predictor_norm": "predictor_norm",
    "predictor_proj": "predictor_proj",
    "predictor_proj_context": "predictor_proj_context",
    "modality_embed": "video_mod_embed",
}
PREFIX = "module.backbone."
"""What stands before every published name: of DistributedDataParallel, and of V-JEPA's own wrapper within."""

PUBLISHED_LEVELS = {
    12: (2, 5, 8, 11),
    24: (5, 11, 17, 23),
    40: (9, 19, 29, 39),
    48: (11, 23, 37, 47),
}
"""Blocks whose outputs version 2.1 takes, by depth."""

PUBLISHED_SIDE = 16
"""Tubelets along a side of version 2.1's pretraining frames, to which it scales its rotary positions."""


def vjepa_version(config: EncoderConfig) -> Version:
    """The version that has this encoder.

    Raises:
        ConfigError: None has; the reason is named.
    """
    later = (config.rope_side, config.levels, config.modality_embedding)
    if config.positions == "sincos":
        raise ConfigError("V-JEPA has no flat sinusoids, which this encoder has (positions sincos)")
    if later == (None, (), False) and config.positions == "sincos3d":
        return "vjepa1"
    if later == (None, (), False) and config.rope == "tiled":
        return "vjepa2"
    published = (PUBLISHED_SIDE, PUBLISHED_LEVELS.get(config.depth), True)
    if config.positions == "rope" and config.rope == "interleaved" and later == published:
        return "vjepa2.1"
    raise ConfigError(
        "no V-JEPA has this encoder: version 1 adds sincos3d positions; version 2 has tiled rotary positions; version 2.1 has "
        f"interleaved ones with rope_side, levels and modality_embedding {published}; this one has positions "
        f"{config.positions}, rope {config.rope} and {later}"
    )


def common_prefix(names: Iterable[str]) -> str:
    """What stands before all of these names of one network: both wrappers, either of them, or nothing."""
    found = list(names)
    return next(
        prefix
        for prefix in (PREFIX, "module.", "backbone.", "")
        if all(name.startswith(prefix) for name in found)
    )


def encoder_tensors(state: State, config: EncoderConfig) -> dict[str, Float[Tensor, "..."]]:
    """An encoder's tensors by V-JEPA's names, without the wrappers' prefixes."""
    tensors = from_surgrec(state, ENCODER)
    if "video_mod_embed" in tensors:
        tensors["video_mod_embed"] = rearrange(tensors["video_mod_embed"], "d -> 1 1 d")
    if config.positions == "sincos3d":
        tensors["pos_embed"] = rearrange(
            sinusoid_table_3d(config.grid, config.width), "n d -> 1 n d"
        )
    return tensors


def encoder_state(tensors: State, blank: State) -> dict[str, Float[Tensor, "..."]]:
    """An encoder's tensors by our names: all those of `blank`."""
    state = to_surgrec(tensors, blank, ENCODER)
    if "modality_embed" in state:
        state["modality_embed"] = rearrange(state["modality_embed"], "1 1 d -> d")
    return state


def predictor_tensors(
    state: State, encoder: EncoderConfig, num_mask_tokens: int = 0
) -> dict[str, Float[Tensor, "..."]]:
    """A predictor's tensors by V-JEPA's names, without the wrappers' prefixes.

    Args:
        state: By our names.
        encoder: The config of its encoder.
        num_mask_tokens: Store as many mask tokens at least: the trained ones over again where there are fewer.
    """
    tensors = from_surgrec(_numbered(state), PREDICTOR)
    num_trained = len(state["mask_tokens"])
    for number in range(num_trained, num_mask_tokens):
        tensors[f"mask_tokens.{number}"] = tensors[f"mask_tokens.{number % num_trained}"]
    if "video_mod_embed" in tensors:
        tensors["video_mod_embed"] = rearrange(tensors["video_mod_embed"], "d -> 1 1 d")
    if encoder.positions == "sincos3d":
        table = sinusoid_table_3d(encoder.grid, state["mask_tokens"].shape[1])
        tensors["predictor_pos_embed"] = rearrange(table, "n d -> 1 n d")
    return tensors


def predictor_state(tensors: State, blank: State) -> dict[str, Float[Tensor, "..."]]:
    """A predictor's tensors by our names: all those of `blank`."""
    numbered = _numbered(blank)
    state = to_surgrec(tensors, numbered, PREDICTOR)
    tokens = [state.pop(name) for name in numbered if name.startswith("mask_tokens.")]
    state["mask_tokens"] = rearrange(tokens, "m 1 1 d -> m d")
    if "modality_embed" in state:
        state["modality_embed"] = rearrange(state["modality_embed"], "1 1 d -> d")
    return state


def _numbered(state: State) -> dict[str, Float[Tensor, "..."]]:
    """Our predictor's tensors, with each mask token by itself."""
    tokens = {
        f"mask_tokens.{number}": rearrange(token, "d -> 1 1 d")
        for number, token in enumerate(state["mask_tokens"])
    }
    return tokens | {name: tensor for name, tensor in state.items() if name != "mask_tokens"}
