"""Convert V-JEPA's checkpoints: `encoder`, `target_encoder` and `predictor` in one pickle."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from torch import Tensor

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT, CheckpointFile
from surgrec.convert._converter import Converter
from surgrec.convert._key_map import check_complete, is_named_tensors, num_blocks
from surgrec.convert._origin import origin_of, skipped_entries
from surgrec.convert._pretrained import (
    NON_COMMERCIAL,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
)
from surgrec.convert._shapes import blank_predictor, require_depth, require_tensor
from surgrec.convert._vjepa_config import (
    predictor_depths,
    predictor_heads,
    require_table,
    stored_encoder,
    stored_version,
)
from surgrec.convert._vjepa_names import (
    Version,
    common_prefix,
    encoder_from_surgrec,
    encoder_to_surgrec,
    predictor_from_surgrec,
    predictor_to_surgrec,
)
from surgrec.convert._vjepa_write import write_vjepa
from surgrec.errors import CheckpointError
from surgrec.models import EncoderConfig, PredictorConfig, State, blank_encoder

ENCODER_KEYS = ("target_encoder", "ema_encoder", "encoder")
"""Entries that may hold the encoder, averaged ones first. The distilled 2.1 models have it under
`ema_encoder`."""

LICENSES: dict[Version, str] = {"vjepa1": NON_COMMERCIAL, "vjepa2": "MIT", "vjepa2.1": "MIT"}

_TRAINING = {"opt": "the optimizer's state", "scaler": "the loss scaler's state"}
_TABLES = ("pos_embed", "predictor_pos_embed")
_UNUSED_TABLES = dict.fromkeys(_TABLES, "a position table, which rotary positions do not use")
_FOR_IMAGES = dict.fromkeys(
    ("patch_embed_img.proj.weight", "patch_embed_img.proj.bias", "img_mod_embed"),
    "for still images",
)
_UNUSED: dict[Version, dict[str, str]] = {
    "vjepa1": {},
    "vjepa2": _UNUSED_TABLES,
    "vjepa2.1": _FOR_IMAGES | _UNUSED_TABLES,
}
_ACTION_ENCODER = "action_encoder.weight"
"""A tensor of V-JEPA 2-AC's predictor, which predicts from a robot's actions and has no mask
tokens."""

Reasons: TypeAlias = Mapping[str, str]
"""Why a tensor of a network is not used, by its name."""


@dataclass(frozen=True)
class _Networks:
    """The networks of a file."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    """By entry and name, without the wrappers' prefix."""
    prefixes: Mapping[str, str]
    """The wrappers' prefix, by entry."""
    bare: bool
    """Whether the file holds an encoder's tensors without an entry."""


def _matches(file: CheckpointFile) -> bool:
    """Match an entry of an encoder, or an encoder's tensors without an entry."""
    if file.config is not None:
        return False
    names = (name.removeprefix("module.").removeprefix("backbone.") for name in file.content)
    return any(key in file.content for key in ENCODER_KEYS) or any(
        name.startswith("blocks.") for name in names
    )


def read_vjepa(
    file: CheckpointFile, options: ImportOptions, keys: tuple[str, ...] = ENCODER_KEYS
) -> Pretrained:
    """Read a V-JEPA checkpoint of any version.

    Args:
        file: The file.
        options: Facts that the file lacks.
        keys: Entries that may hold the encoder; the first one in the file is read.

    Raises:
        CheckpointError: A tensor is missing, unexpected or of another shape, or the version is
            ambiguous.
    """
    context = file.name
    networks = _split_networks(file.content, context)
    entry = next((name for name in keys if name in networks.tensors), None)
    if entry is None:
        raise CheckpointError(
            f"{context} has no encoder under {' or '.join(keys)}; {NAME_THE_FORMAT}"
        )

    tensors = networks.tensors
    version = stored_version(tensors[entry], options, context)
    config = stored_encoder(tensors[entry], version, options, context)

    # Read each network, and collect the tensors that are not used.
    unused: dict[str, Reasons] = {}
    state, unused[entry] = _read_encoder(tensors[entry], config, version, f"{context}, {entry}")
    context_encoder, predictor = None, None
    if entry != "encoder" and "encoder" in tensors:
        context_encoder, unused["encoder"] = _read_encoder(
            tensors["encoder"], config, version, f"{context}, encoder"
        )
    if "predictor" in tensors:
        predictor, unused["predictor"] = _read_predictor(
            tensors["predictor"], config, version, options, f"{context}, predictor"
        )
    for name in tensors:
        if name not in unused:
            unused[name] = dict.fromkeys(tensors[name], f"the encoder is read from {entry} instead")

    left_out = _left_out(tensors, unused)
    if not networks.bare:
        left_out += skipped_entries(file.content, tensors.keys(), _TRAINING, context)
    key = None if networks.bare else entry
    return Pretrained(
        origin=origin_of(file, version, options, LICENSES[version], key=key, left_out=left_out),
        encoder=Component(
            config=replace(
                config,
                num_frames=options.num_frames or config.num_frames,
                crop_px=options.crop_px or config.crop_px,
            ),
            state=state,
        ),
        context_encoder=context_encoder,
        predictor=predictor,
        extra=ExtraTensors(
            format="vjepa",
            entry=entry,
            bare=networks.bare,
            prefixes=networks.prefixes,
            tensors=_tensors_to_keep(tensors, unused),
        ),
        assumed=_assumed(config, options),
    )


def _split_networks(content: Mapping[str, Any], context: str) -> _Networks:
    """Return the networks of a file, without the wrappers' prefix of their names."""
    entries = {name: content[name] for name in (*ENCODER_KEYS, "predictor") if name in content}
    tensors, prefixes = {}, {}
    for name, entry in (entries or {"encoder": content}).items():
        if not is_named_tensors(entry):
            raise CheckpointError(
                f"{context} has no named tensors under {' or '.join(ENCODER_KEYS)}, where V-JEPA's "
                f"files have them; {NAME_THE_FORMAT}"
            )
        prefixes[name] = common_prefix(entry)
        tensors[name] = {key.removeprefix(prefixes[name]): tensor for key, tensor in entry.items()}
    return _Networks(tensors, prefixes, bare=not entries)


def _read_encoder(
    tensors: Mapping[str, Tensor], config: EncoderConfig, version: Version, context: str
) -> tuple[State, Reasons]:
    """Return the encoder's tensors by SurgRec's names, and those that are not used."""
    blank = blank_encoder(config)
    used, unused = _split_unused(tensors, version)
    check_complete(used, encoder_from_surgrec(blank, config), context)
    if version == "vjepa1":
        require_table(tensors, "pos_embed", config.grid, context)
    return encoder_to_surgrec(tensors, blank, context), unused


def _read_predictor(
    tensors: Mapping[str, Tensor],
    encoder: EncoderConfig,
    version: Version,
    options: ImportOptions,
    context: str,
) -> tuple[Component[PredictorConfig] | None, Reasons]:
    """Return the predictor and its unused tensors; None if it cannot be used with the encoder."""
    config, reason = _predictor_config(tensors, encoder, version, options, context)
    if config is None:
        return None, dict.fromkeys(tensors, reason)

    blank = blank_predictor(config, encoder, num_blocks(tensors, "mask_tokens."))
    used, unused = _split_unused(tensors, version)
    check_complete(used, predictor_from_surgrec(blank, encoder), context)
    if version == "vjepa1":
        require_table(tensors, "predictor_pos_embed", encoder.grid, context)
    state = predictor_to_surgrec(tensors, blank, context)
    return Component(config=config, state=state), unused


def _predictor_config(
    tensors: Mapping[str, Tensor],
    encoder: EncoderConfig,
    version: Version,
    options: ImportOptions,
    context: str,
) -> tuple[PredictorConfig | None, str]:
    """Return the predictor's config, or None and the reason why it cannot be used."""
    if _ACTION_ENCODER in tensors:
        return None, "it predicts from actions, not from masks"
    features = encoder.width * max(1, len(encoder.levels))
    if require_tensor(tensors, "predictor_proj.weight", 2, context).shape[0] != features:
        return None, "it predicts features of the encoder that this one was distilled from"

    width = require_tensor(tensors, "mask_tokens.0", 3, context).shape[-1]
    num_heads = options.predictor_heads or predictor_heads(version, width, encoder)
    if num_heads is None:
        return None, f"its number of heads is unknown: no published predictor has width {width}"

    depth = num_blocks(tensors, "predictor_blocks.")
    if depth != options.predictor_depth:
        remedy = (
            f"give the complete file, or --predictor_depth {depth} if that is right (in a recipe "
            "--objective.predictor.depth)"
        )
        published = predictor_depths(version, width, encoder)
        require_depth(depth, "predictor_blocks.", published, context, remedy)

    hidden = require_tensor(tensors, "predictor_blocks.0.mlp.fc1.weight", 2, context).shape[0]
    config = PredictorConfig(
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=hidden / width,
        shared_mask_token=version != "vjepa1",
        context_head="predictor_proj_context.weight" in tensors,
    )
    return config, ""


def _split_unused(
    tensors: Mapping[str, Tensor], version: Version
) -> tuple[dict[str, Tensor], Reasons]:
    """Return the tensors that the version's networks use, and the reasons for the others."""
    unused = {name: why for name, why in _UNUSED[version].items() if name in tensors}
    return {name: tensor for name, tensor in tensors.items() if name not in unused}, unused


def _left_out(
    networks: Mapping[str, Mapping[str, Tensor]], unused: Mapping[str, Reasons]
) -> list[SkippedTensors]:
    """Return the unused tensors: one entry for a network of which none is used."""
    left_out = []
    for network, reasons in unused.items():
        if len(reasons) == len(networks[network]):
            why = next(iter(reasons.values()), "it is empty")
            left_out.append(SkippedTensors(name=network, why=why, tensors=len(reasons), kept=True))
        else:
            left_out += [
                SkippedTensors(name=f"{network}.{name}", why=why, tensors=1, kept=True)
                for name, why in reasons.items()
            ]
    return left_out


def _tensors_to_keep(
    networks: Mapping[str, Mapping[str, Tensor]], unused: Mapping[str, Reasons]
) -> dict[str, Tensor]:
    """Return the unused tensors, and position tables, whose last bits may differ if computed."""
    return {
        f"{network}.{name}": tensor
        for network, tensors in networks.items()
        for name, tensor in tensors.items()
        if name in unused[network] or name in _TABLES
    }


def _assumed(config: EncoderConfig, options: ImportOptions) -> dict[str, Any]:
    """Return the published values that neither the file nor the user gives."""
    given = {"num_heads": options.num_heads}
    # Version 1's position table gives the clip's size.
    if config.positions != "sincos3d":
        given |= {"num_frames": options.num_frames, "crop_px": options.crop_px}
    return {name: getattr(config, name) for name, value in given.items() if value is None}


VJEPA = Converter(matches=_matches, read=read_vjepa, write=write_vjepa)
