"""V-JEPA's checkpoints, read: `encoder`, `target_encoder` and `predictor` in one pickle. vjepa_content writes them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from surgrec.convert._checkpoint_file import CheckpointFile
from surgrec.convert._key_map import check_complete, is_named_tensors, num_blocks
from surgrec.convert._pretrained import (
    NON_COMMERCIAL,
    Component,
    ExtraTensors,
    ImportOptions,
    Pretrained,
    SkippedTensors,
    origin_of,
    skipped_tensors,
)
from surgrec.convert._shapes import blank_encoder, blank_predictor, require_depth, require_tensor
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
    encoder_state,
    encoder_tensors,
    predictor_state,
    predictor_tensors,
)
from surgrec.errors import CheckpointError
from surgrec.models import EncoderConfig, PredictorConfig, State

KEYS = ("target_encoder", "ema_encoder", "encoder")
"""Where the encoder is; the averaged one first. The distilled 2.1 models have it under the second."""

LICENSES: dict[Version, str] = {"vjepa1": NON_COMMERCIAL, "vjepa2": "MIT", "vjepa2.1": "MIT"}

_TRAINING = {"opt": "the optimizer's state", "scaler": "the loss scaler's state"}
_TABLES = ("pos_embed", "predictor_pos_embed")
_TABLE_NOT_USED = "a table that nothing uses: the positions are rotary"
_STILL = {
    name: "for still images"
    for name in ("patch_embed_img.proj.weight", "patch_embed_img.proj.bias", "img_mod_embed")
}
_UNUSED: dict[Version, dict[str, str]] = {
    "vjepa1": {},
    "vjepa2": dict.fromkeys(_TABLES, _TABLE_NOT_USED),
    "vjepa2.1": _STILL | dict.fromkeys(_TABLES, _TABLE_NOT_USED),
}
_OF_ACTIONS = "action_encoder.weight"
"""What V-JEPA 2-AC's predictor has, which predicts from a robot's actions and has no mask tokens."""

Networks = Mapping[str, Mapping[str, Tensor]]
Unused = Mapping[str, str]
"""Why a tensor of a network is not used, by its name."""


def read_vjepa(
    container: CheckpointFile, options: ImportOptions, keys: tuple[str, ...] = KEYS
) -> Pretrained:
    """The weights of a V-JEPA checkpoint of any version.

    Args:
        container: The file.
        options: What it does not say.
        keys: Entries that the encoder may be in; the first that is there is taken.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape, or the version cannot be told.
    """
    where, content = container.name, container.content
    networks, prefixes, bare = _networks(content, where)
    entry = next((name for name in keys if name in networks), None)
    if entry is None:
        raise CheckpointError(
            f"{where} has no encoder under {' or '.join(keys)}; name the format that the file has"
        )
    version = stored_version(networks[entry], options, where)
    stored = stored_encoder(networks[entry], version, options, where)
    unused: dict[str, Unused] = {}
    state, unused[entry] = _read_encoder(networks[entry], stored, version, f"{where}, {entry}")
    context, predictor = None, None
    if entry != "encoder" and "encoder" in networks:
        context, unused["encoder"] = _read_encoder(
            networks["encoder"], stored, version, f"{where}, encoder"
        )
    if "predictor" in networks:
        predictor, unused["predictor"] = _read_predictor(
            networks["predictor"], stored, version, options, f"{where}, predictor"
        )
    for name in networks.keys() - unused.keys():
        unused[name] = dict.fromkeys(networks[name], f"another copy of the encoder than {entry}")
    left_out = _left_out(networks, unused)
    if not bare:
        left_out += skipped_tensors(content, set(networks), _TRAINING, where)
    key = None if bare else entry
    return Pretrained(
        origin=origin_of(
            container, version, options, LICENSES[version], key=key, left_out=left_out
        ),
        encoder=Component(config=_with_clip(stored, options), state=state),
        context_encoder=context,
        predictor=predictor,
        remainder=ExtraTensors(
            format="vjepa",
            entry=entry,
            bare=bare,
            prefixes=prefixes,
            tensors=_remaining(networks, unused),
        ),
        assumed=_assumed(stored, options),
    )


def _networks(
    content: Mapping[str, Any], where: str
) -> tuple[dict[str, dict[str, Tensor]], dict[str, str], bool]:
    """The entries with networks, what stood before the names in each, and whether the file is an encoder's tensors alone."""
    entries = {name: content[name] for name in (*KEYS, "predictor") if name in content}
    networks, prefixes = {}, {}
    for name, entry in (entries or {"encoder": content}).items():
        if not is_named_tensors(entry):
            raise CheckpointError(
                f"{where} has no encoder where V-JEPA's files have one ({', '.join(KEYS)}); name its format"
            )
        prefixes[name] = common_prefix(entry)
        networks[name] = {key.removeprefix(prefixes[name]): tensor for key, tensor in entry.items()}
    return networks, prefixes, not entries


def _read_encoder(
    found: Mapping[str, Tensor], config: EncoderConfig, version: Version, where: str
) -> tuple[State, Unused]:
    blank = blank_encoder(config)
    unused = {name: why for name, why in _UNUSED[version].items() if name in found}
    check_complete(_without(found, unused), encoder_tensors(blank, config), where)
    if version == "vjepa1":
        require_table(found, "pos_embed", config.grid, where)
    return encoder_state(found, blank), unused


def _read_predictor(
    found: Mapping[str, Tensor],
    encoder: EncoderConfig,
    version: Version,
    options: ImportOptions,
    where: str,
) -> tuple[Component[PredictorConfig] | None, Unused]:
    """The predictor; None where it is none for this encoder, or where its number of heads is not known."""
    if _OF_ACTIONS in found:
        return None, dict.fromkeys(found, "it predicts from actions, not from masks")
    features = encoder.width * max(1, len(encoder.levels))
    if require_tensor(found, "predictor_proj.weight", 2, where).shape[0] != features:
        why = "it predicts the features of another encoder, which this one was distilled from"
        return None, dict.fromkeys(found, why)
    width = require_tensor(found, "mask_tokens.0", 3, where).shape[-1]
    num_heads = options.predictor_heads or predictor_heads(version, width, encoder)
    if num_heads is None:
        why = f"its number of heads is not known: no published predictor has width {width}"
        return None, dict.fromkeys(found, why)
    depth = num_blocks(found, "predictor_blocks.")
    if depth != options.predictor_depth:
        remedy = f"give the complete file, or predictor depth {depth} if so many are meant"
        require_depth(
            depth, "predictor_blocks.", predictor_depths(version, width, encoder), where, remedy
        )
    config = PredictorConfig(
        width=width,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=require_tensor(found, "predictor_blocks.0.mlp.fc1.weight", 2, where).shape[0]
        / width,
        shared_mask_token=version != "vjepa1",
        context_head="predictor_proj_context.weight" in found,
    )
    blank = blank_predictor(config, encoder, num_blocks(found, "mask_tokens."))
    unused = {name: why for name, why in _UNUSED[version].items() if name in found}
    check_complete(_without(found, unused), predictor_tensors(blank, encoder), where)
    if version == "vjepa1":
        require_table(found, "predictor_pos_embed", encoder.grid, where)
    return Component(config=config, state=predictor_state(found, blank)), unused


def _without(found: Mapping[str, Tensor], names: Unused) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in found.items() if name not in names}


def _left_out(networks: Networks, unused: Mapping[str, Unused]) -> list[SkippedTensors]:
    """A network of which nothing is used is one entry."""
    left_out = []
    for network, names in unused.items():
        if len(names) == len(networks[network]):
            why = next(iter(names.values()), "it is empty")
            left_out.append(SkippedTensors(name=network, why=why, tensors=len(names), kept=True))
        else:
            left_out += [
                SkippedTensors(name=f"{network}.{name}", why=why, tensors=1, kept=True)
                for name, why in names.items()
            ]
    return left_out


def _remaining(networks: Networks, unused: Mapping[str, Unused]) -> dict[str, Tensor]:
    """What no network here has, and the tables that are computed here, to the last bit."""
    return {
        f"{network}.{name}": tensor
        for network, tensors in networks.items()
        for name, tensor in tensors.items()
        if name in unused[network] or name in _TABLES
    }


def _with_clip(stored: EncoderConfig, options: ImportOptions) -> EncoderConfig:
    return replace(
        stored,
        num_frames=options.num_frames or stored.num_frames,
        crop_px=options.crop_px or stored.crop_px,
    )


def _assumed(stored: EncoderConfig, options: ImportOptions) -> dict[str, Any]:
    given = {
        "num_heads": options.num_heads,
        "num_frames": options.num_frames,
        "crop_px": options.crop_px,
    }
    stores_clip = {"num_frames", "crop_px"} if stored.positions == "sincos3d" else set()
    return {
        name: getattr(stored, name)
        for name, value in given.items()
        if value is None and name not in stores_clip
    }
