"""Encoders on disk: one safetensors file that says what it is and where it comes from."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, TypeAlias

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from surgrec.cli import from_plain
from surgrec.errors import CheckpointError, ConfigError
from surgrec.models.encoder import Encoder, EncoderConfig

State: TypeAlias = Mapping[str, Float[Tensor, "..."]]
"""Tensors by name."""

ENCODER_FILE = "encoder.safetensors"
"""What a run leaves in its folder for others."""
_FORMAT = "surgrec-encoder-1"


def save_encoder(encoder: Encoder, path: Path, provenance: Mapping[str, Any]) -> None:
    """Writes an encoder, complete under its name or not at all.

    Args:
        encoder: Its weights and its config are stored.
        path: A `.safetensors` file; one that is there is replaced.
        provenance: JSON values: what the weights were trained on and from.

    Raises:
        CheckpointError: The file cannot be written.
    """
    write_encoder_file(path, encoder.config, encoder.state_dict(), provenance)


def write_encoder_file(
    path: Path,
    config: EncoderConfig,
    tensors: State,
    provenance: Mapping[str, Any],
    parts: Mapping[str, Any] | None = None,
) -> None:
    """Writes an encoder by its tensors, and with it what belongs to it. Otherwise as `save_encoder`.

    Args:
        path: A `.safetensors` file; one that is there is replaced.
        config: The encoder's.
        tensors: The encoder's, and those of each part with its name before theirs: `predictor.mask_tokens`.
        provenance: JSON values: what the weights were trained on and from.
        parts: JSON values that say what each part is, by its name; `load_encoder` leaves parts alone.
    """
    header: dict[str, Any] = {
        "format": _FORMAT,
        "config": asdict(config),
        "provenance": dict(provenance),
    }
    if parts:
        header["parts"] = dict(parts)
    partial = path.with_name(path.name + ".partial")
    # One metadata entry: safetensors does not keep the order of several, and equal encoders shall give equal files.
    metadata = {"surgrec": json.dumps(header, sort_keys=True)}
    try:
        save_file(in_own_memory(tensors), partial, metadata=metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)  # safetensors writes for the owner alone; a group shares its encoders
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: cannot be written ({error}); make room or choose another folder"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def in_own_memory(tensors: State) -> dict[str, Float[Tensor, "..."]]:
    """The tensors on the CPU, each in memory that no other has a part of: files store or refuse shared memory whole."""
    own, seen = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.nbytes() != plain.nbytes or memory.data_ptr() in seen:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        own[name] = plain
    return own


def load_encoder(path: Path) -> Encoder:
    """The encoder of a file that `save_encoder` wrote, on the CPU, without the other parts of an imported file.

    Raises:
        CheckpointError: The file is missing or damaged, is no encoder of ours, or its tensors do not fit its config.
    """
    header, tensors = read_encoder_file(path, "encoder")
    encoder = Encoder(encoder_config(header, path))
    load_strictly(encoder, tensors, str(path))
    return encoder


def encoder_config(header: Mapping[str, Any], path: Path) -> EncoderConfig:
    """The config in the header of this file.

    Raises:
        CheckpointError: It is of another version.
    """
    try:
        return from_plain(EncoderConfig, header["config"], str(path))
    except (ConfigError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}: its encoder config cannot be used ({error}); it needs another version"
        ) from error


def encoder_provenance(path: Path) -> dict[str, Any]:
    """What `save_encoder` was told of the weights, read without them. Raises as `load_encoder` does."""
    provenance: dict[str, Any] = read_encoder_file(path, "nothing")[0]["provenance"]
    return provenance


def is_encoder_file(path: Path) -> bool:
    """Whether `save_encoder` wrote this file."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
    except (OSError, SafetensorError, ValueError):
        return False
    return isinstance(header, dict) and header.get("format") == _FORMAT


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copies tensors into a module that must have exactly these names and shapes.

    Args:
        module: Receives the tensors.
        tensors: By the module's parameter names.
        origin: Where the tensors come from, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing, unknown or of another shape.
    """
    own = module.state_dict()
    for name in own:
        if name not in tensors:
            raise CheckpointError(
                f"{origin}: tensor '{name}' is missing; load it into the model that it was saved from"
            )
    for name, tensor in tensors.items():
        if name not in own:
            raise CheckpointError(
                f"{origin}: tensor '{name}' is unknown; load it into the model that it was saved from"
            )
        if tensor.shape != own[name].shape:
            raise CheckpointError(
                f"{origin}: tensor '{name}' has shape {tuple(tensor.shape)}, {tuple(own[name].shape)} expected; "
                "load it into the model that it was saved from"
            )
    module.load_state_dict(dict(tensors))


def read_encoder_file(
    path: Path, wanted: Literal["nothing", "encoder", "all"]
) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """What `write_encoder_file` was told (config, provenance, parts), and the tensors that are wanted. Raises as `load_encoder`."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
            parts = header.get("parts", {}) if wanted == "encoder" else {}
            names = [name for name in file.keys() if name.partition(".")[0] not in parts]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names} if wanted != "nothing" else {}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a readable safetensors file ({error}); copy or save it again"
        ) from error
    if header.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path}: not an encoder that SurgRec saved ({_FORMAT}); convert it first"
        )
    return header, tensors
