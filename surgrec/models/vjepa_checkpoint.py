"""V-JEPA's checkpoints, read and written: `encoder`, `target_encoder` and `predictor` in one pickle."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from surgrec.errors import CheckpointError
from surgrec.models.containers import Container
from surgrec.models.encoder import EncoderConfig
from surgrec.models.key_map import State, check_complete, num_blocks
from surgrec.models.predictor import PredictorConfig
from surgrec.models.pretrained import NON_COMMERCIAL, LeftOut, Part, Pretrained, Unstored, left_out_entries, origin_of
from surgrec.models.sizes import blank_encoder, blank_predictor, require_tensor
from surgrec.models.vjepa import (
    Version,
    encoder_state,
    encoder_tensors,
    predictor_state,
    predictor_tensors,
    vjepa_version,
)
from surgrec.models.vjepa_config import predictor_heads, stored_encoder, stored_version

KEYS = ("target_encoder", "ema_encoder", "encoder")
"""Where the encoder is; the averaged one first. The distilled 2.1 models have it under the second."""

LICENCES: dict[Version, str] = {"vjepa1": NON_COMMERCIAL, "vjepa2": "MIT", "vjepa2.1": "MIT"}

_TRAINING = {"opt": "the optimizer's state", "scaler": "the loss scaler's state"}
_UNUSED_TABLE = "a table that nothing uses: the positions are rotary"
_STILL = "for still images"
_UNUSED: dict[Version, dict[str, str]] = {
    "vjepa1": {},
    "vjepa2": {"pos_embed": _UNUSED_TABLE, "predictor_pos_embed": _UNUSED_TABLE},
    "vjepa2.1": {"patch_embed_img.proj.weight": _STILL, "patch_embed_img.proj.bias": _STILL, "img_mod_embed": _STILL},
}
_WRAPPERS = ("module.", "backbone.")


def read_vjepa(container: Container, unstored: Unstored, keys: tuple[str, ...] = KEYS) -> Pretrained:
    """The weights of a V-JEPA checkpoint of any version.

    Args:
        container: The file.
        unstored: What it does not say.
        keys: Entries that the encoder may be in; the first that is there is taken.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the version cannot be told.
    """
    where, content = container.name, container.content
    key = next((name for name in keys if name in content), None)
    found = _unwrapped(content if key is None else content[key], where)
    version = stored_version(found, unstored, where)
    stored = stored_encoder(found, version, unstored, where)
    state, left_out = _read_encoder(found, stored, version, f"{where}, {key}" if key else where)
    context, predictor = None, None
    if key not in (None, "encoder") and "encoder" in content:
        context, _ = _read_encoder(_unwrapped(content["encoder"], where), stored, version, f"{where}, encoder")
    if key is not None and "predictor" in content:
        found = _unwrapped(content["predictor"], where)
        predictor, unused = _read_predictor(found, stored, version, unstored, f"{where}, predictor")
        left_out += unused
    if key is not None:
        copies = {name: f"another copy of the encoder than {key}" for name in KEYS}
        taken = {key, "predictor"} | ({"encoder"} if context is not None else set())
        left_out += left_out_entries(content, taken, _TRAINING | copies, where)
    return Pretrained(
        origin=origin_of(container, version, unstored, LICENCES[version], key=key, left_out=left_out),
        encoder=Part(config=_with_clip(stored, unstored), state=state),
        context_encoder=context,
        predictor=predictor,
        assumed=_assumed(stored, unstored),
    )


def vjepa_content(weights: Pretrained) -> dict[str, dict[str, Float[Tensor, "..."]]]:
    """The entries of a V-JEPA checkpoint of the version that has this encoder.

    Raises:
        ConfigError: No version has it.
    """
    config, target = weights.encoder.config, weights.encoder.state
    vjepa_version(config)
    content = {
        "encoder": with_wrappers(encoder_tensors(weights.context_encoder or target, config)),
        "target_encoder": with_wrappers(encoder_tensors(target, config)),
    }
    if weights.predictor is not None:
        content["predictor"] = with_wrappers(predictor_tensors(weights.predictor.state, config))
    return content


def with_wrappers(tensors: State) -> dict[str, Float[Tensor, "..."]]:
    """The tensors by the names that V-JEPA's training stores: of DistributedDataParallel around its own wrapper."""
    return {"".join(_WRAPPERS) + name: tensor for name, tensor in tensors.items()}


def _unwrapped(entry: Any, where: str) -> dict[str, Tensor]:
    """An entry's tensors without the prefixes of DistributedDataParallel and of V-JEPA's own wrapper."""
    if not isinstance(entry, Mapping) or not all(isinstance(tensor, Tensor) for tensor in entry.values()):
        raise CheckpointError(
            f"{where} has no encoder where V-JEPA's files have one ({', '.join(KEYS)}); name its format"
        )
    tensors = {}
    for name, tensor in entry.items():
        bare = name.removeprefix(_WRAPPERS[0]).removeprefix(_WRAPPERS[1])
        if bare in tensors:
            raise CheckpointError(
                f"{where}: '{name}' is there twice, with and without its prefix; give the published file"
            )
        tensors[bare] = tensor
    return tensors


def _read_encoder(
    found: Mapping[str, Tensor], config: EncoderConfig, version: Version, where: str
) -> tuple[State, list[LeftOut]]:
    blank = blank_encoder(config)
    used, left_out = _without_unused(found, version)
    check_complete(used, encoder_tensors(blank, config), where)
    return encoder_state(used, blank), left_out


def _read_predictor(
    found: Mapping[str, Tensor], encoder: EncoderConfig, version: Version, unstored: Unstored, where: str
) -> tuple[Part[PredictorConfig] | None, list[LeftOut]]:
    """The predictor, or why it was left out."""

    def without(why: str) -> tuple[None, list[LeftOut]]:
        return None, [LeftOut(name="predictor", why=why, tensors=len(found))]

    if "mask_tokens.0" not in found:
        return without("it has no mask tokens, so it predicts from something else than masks")
    width = require_tensor(found, "mask_tokens.0", 3, where).shape[-1]
    features = encoder.width * max(1, len(encoder.levels))
    if require_tensor(found, "predictor_proj.weight", 2, where).shape[0] != features:
        return without("it predicts the features of another encoder, which this one was distilled from")
    num_heads = unstored.predictor_heads or predictor_heads(version, width, encoder)
    if num_heads is None:
        return without(f"its number of heads is not known: no published predictor has width {width}")
    config = PredictorConfig(
        width=width,
        depth=num_blocks(found, "predictor_blocks."),
        num_heads=num_heads,
        mlp_ratio=require_tensor(found, "predictor_blocks.0.mlp.fc1.weight", 2, where).shape[0] / width,
        context_head="predictor_proj_context.weight" in found,
    )
    blank = blank_predictor(config, encoder, num_blocks(found, "mask_tokens."))
    used, left_out = _without_unused(found, version)
    check_complete(used, predictor_tensors(blank, encoder), where)
    return Part(config=config, state=predictor_state(used, blank)), left_out


def _without_unused(found: Mapping[str, Tensor], version: Version) -> tuple[dict[str, Tensor], list[LeftOut]]:
    unused = _UNUSED[version]
    left_out = [LeftOut(name=name, why=unused[name], tensors=1) for name in found if name in unused]
    return {name: tensor for name, tensor in found.items() if name not in unused}, left_out


def _with_clip(stored: EncoderConfig, unstored: Unstored) -> EncoderConfig:
    return replace(
        stored, num_frames=unstored.num_frames or stored.num_frames, crop_px=unstored.crop_px or stored.crop_px
    )


def _assumed(stored: EncoderConfig, unstored: Unstored) -> dict[str, Any]:
    given = {"num_heads": unstored.num_heads, "num_frames": unstored.num_frames, "crop_px": unstored.crop_px}
    stores_clip = {"num_frames", "crop_px"} if stored.positions == "sincos3d" else set()
    return {name: getattr(stored, name) for name, value in given.items() if value is None and name not in stores_clip}
