"""Tensor names of V-JEPA 1, 2 and 2.1, and the encoders that each version has.

Version 1 adds fixed positions, which are stored with the weights. Version 2 rotates queries and
keys instead. Version 2.1 has norms for several levels, and vectors that distinguish images from
videos.

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
"""Prefix of all published names, from DistributedDataParallel and V-JEPA's wrapper inside it."""

NUM_MASK_TOKENS: dict[Version, int] = {"vjepa1": 0, "vjepa2": 10, "vjepa2.1": 8}
"""Smallest number of mask tokens in a published predictor. Version 1 has one per mask config."""

PUBLISHED_LEVELS = {
    12: (2, 5, 8, 11),
    24: (5, 11, 17, 23),
    40: (9, 19, 29, 39),
    48: (11, 23, 37, 47),
}
"""Blocks whose outputs are the levels of version 2.1, by depth."""

PUBLISHED_SIDE = 16
"""Tubelets along a side of version 2.1's pretraining frames, to which rotary positions scale."""


def vjepa_version(config: EncoderConfig) -> Version:
    """Return the version that has this encoder.

    Raises:
        ConfigError: No version has it.
    """
    version = _version_of(config)
    if version is not None:
        return version

    if config.positions == "sincos":
        raise ConfigError(
            "V-JEPA has no flat sinusoids, but this encoder does (positions sincos); "
            f"{other_formats(config)}"
        )

    published = (PUBLISHED_SIDE, PUBLISHED_LEVELS.get(config.depth), True)
    features = (config.rope_side, config.levels, config.modality_embedding)
    raise ConfigError(
        "no version of V-JEPA has this encoder: version 1 has sincos3d positions; version 2 has "
        "tiled rotary positions; version 2.1 has interleaved ones with (rope_side, levels, "
        f"modality_embedding) {published}; this encoder has positions {config.positions}, rope "
        f"{config.rope} and {features}; {other_formats(config)}"
    )


def other_formats(config: EncoderConfig) -> str:
    """Return advice that names the formats for an encoder that one format cannot represent."""
    version = _version_of(config)
    if version is not None:
        return "export it as hf or vjepa" if version == "vjepa2" else "export it as vjepa"
    if config.positions == "sincos" and not config.levels and not config.modality_embedding:
        return "export it as hf, videomae or timm"
    return "use its encoder file, as no format can represent it"


def _version_of(config: EncoderConfig) -> Version | None:
    """Return the version that has this encoder; None if no version has it."""
    features = (config.rope_side, config.levels, config.modality_embedding)
    if features == (None, (), False) and config.positions == "sincos3d":
        return "vjepa1"
    if features == (None, (), False) and (config.positions, config.rope) == ("rope", "tiled"):
        return "vjepa2"
    published = (PUBLISHED_SIDE, PUBLISHED_LEVELS.get(config.depth), True)
    if config.positions == "rope" and config.rope == "interleaved" and features == published:
        return "vjepa2.1"
    return None


def common_prefix(names: Iterable[str]) -> str:
    """Return the wrappers' prefix of all names of a network: both wrappers, one, or none."""
    names = list(names)
    return next(
        prefix
        for prefix in (PREFIX, "module.", "backbone.", "")
        if all(name.startswith(prefix) for name in names)
    )


def encoder_from_surgrec(state: State, config: EncoderConfig) -> dict[str, Float[Tensor, "..."]]:
    """Return an encoder's tensors by V-JEPA's names, without the wrappers' prefix."""
    tensors = from_surgrec(state, ENCODER)
    if "video_mod_embed" in tensors:
        tensors["video_mod_embed"] = rearrange(tensors["video_mod_embed"], "d -> 1 1 d")
    if config.positions == "sincos3d":
        table = sinusoid_table_3d(config.grid, config.width)
        tensors["pos_embed"] = rearrange(table, "n d -> 1 n d")
    return tensors


def encoder_to_surgrec(
    tensors: State, blank: State, context: str
) -> dict[str, Float[Tensor, "..."]]:
    """Return an encoder's tensors by SurgRec's names, which `blank` has."""
    state = to_surgrec(tensors, blank, ENCODER, context)
    if "modality_embed" in state:
        state["modality_embed"] = rearrange(state["modality_embed"], "1 1 d -> d")
    return state


def predictor_from_surgrec(
    state: State, encoder: EncoderConfig, num_mask_tokens: int = 0
) -> dict[str, Float[Tensor, "..."]]:
    """Return a predictor's tensors by V-JEPA's names, without the wrappers' prefix.

    Args:
        state: Tensors by SurgRec's names.
        encoder: Config of its encoder.
        num_mask_tokens: Smallest number of mask tokens to store; trained ones are repeated.
    """
    tensors = from_surgrec(_with_separate_tokens(state), PREDICTOR)
    num_trained = len(state["mask_tokens"])
    for number in range(num_trained, num_mask_tokens):
        tensors[f"mask_tokens.{number}"] = tensors[f"mask_tokens.{number % num_trained}"]

    if "video_mod_embed" in tensors:
        tensors["video_mod_embed"] = rearrange(tensors["video_mod_embed"], "d -> 1 1 d")
    if encoder.positions == "sincos3d":
        table = sinusoid_table_3d(encoder.grid, state["mask_tokens"].shape[1])
        tensors["predictor_pos_embed"] = rearrange(table, "n d -> 1 n d")
    return tensors


def predictor_to_surgrec(
    tensors: State, blank: State, context: str
) -> dict[str, Float[Tensor, "..."]]:
    """Return a predictor's tensors by SurgRec's names, which `blank` has."""
    names = _with_separate_tokens(blank)
    state = to_surgrec(tensors, names, PREDICTOR, context)
    tokens = [state.pop(name) for name in names if name.startswith("mask_tokens.")]
    state["mask_tokens"] = rearrange(tokens, "m 1 1 d -> m d")
    if "modality_embed" in state:
        state["modality_embed"] = rearrange(state["modality_embed"], "1 1 d -> d")
    return state


def _with_separate_tokens(state: State) -> dict[str, Float[Tensor, "..."]]:
    """Return a predictor's tensors with one entry per mask token: `mask_tokens.0`, ..."""
    tokens = {
        f"mask_tokens.{number}": rearrange(token, "d -> 1 1 d")
        for number, token in enumerate(state["mask_tokens"])
    }
    return tokens | {name: tensor for name, tensor in state.items() if name != "mask_tokens"}
