"""Encoders on disk: one safetensors file with weights, config and provenance."""

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
from surgrec.errors import CheckpointError, ConfigError, reason
from surgrec.models.encoder import Encoder, EncoderConfig

State: TypeAlias = Mapping[str, Float[Tensor, "..."]]
"""Tensors by name."""

ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder file in a run folder."""

_FORMAT = "surgrec-encoder-1"


def save_encoder(encoder: Encoder, path: Path, provenance: Mapping[str, Any]) -> None:
    """Write an encoder file. It appears under its name complete, or not at all.

    Args:
        encoder: The encoder whose weights and config are stored.
        path: A `.safetensors` file; an existing one is replaced.
        provenance: JSON values that record how the weights were made.

    Raises:
        CheckpointError: The file cannot be written.
    """
    write_encoder_file(path, encoder.config, encoder.state_dict(), provenance)


def write_encoder_file(
    path: Path,
    config: EncoderConfig,
    tensors: State,
    provenance: Mapping[str, Any],
    components: Mapping[str, Any] | None = None,
) -> None:
    """Write an encoder file from tensors, with further components such as a predictor.

    Args:
        path: A `.safetensors` file; an existing one is replaced.
        config: Config of the encoder.
        tensors: The encoder's tensors, and those of each component with its name as a prefix:
            `predictor.mask_tokens`.
        provenance: JSON values that record how the weights were made.
        components: JSON values that describe each component, by name. `read_encoder` ignores
            components.

    Raises:
        CheckpointError: The file cannot be written.
    """
    header: dict[str, Any] = {
        "format": _FORMAT,
        "config": asdict(config),
        "provenance": dict(provenance),
    }
    if components:
        header["parts"] = dict(components)

    # One metadata entry: safetensors does not keep the order of several, and equal encoders shall
    # give equal files.
    metadata = {"surgrec": json.dumps(header, sort_keys=True)}

    partial = path.with_name(path.name + ".partial")
    try:
        save_file(unshared_on_cpu(tensors), partial, metadata=metadata)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.chmod(0o644)  # safetensors gives only the owner access; a group shares its encoders
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} cannot be written ({reason(error)}); check its folder, or choose another one"
        ) from error
    finally:
        partial.unlink(missing_ok=True)


def unshared_on_cpu(tensors: State) -> dict[str, Float[Tensor, "..."]]:
    """Return the tensors on the CPU, each in separate memory.

    File formats refuse tensors that share memory, or store the whole memory of a view.
    """
    unshared, addresses = {}, set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage()
        if memory.nbytes() != plain.nbytes or memory.data_ptr() in addresses:
            plain = plain.clone()
        addresses.add(plain.untyped_storage().data_ptr())
        unshared[name] = plain
    return unshared


def read_encoder(path: Path) -> Encoder:
    """Load an encoder from an encoder file, on the CPU. Other components of the file are ignored.

    Raises:
        CheckpointError: The file is missing, damaged or not an encoder file, or its tensors do not
            fit its config.

    Example:
        >>> encoder = read_encoder(Path("runs/a/encoder.safetensors"))
        >>> features = encoder(clips)  # normalized, [b, 3, num_frames, crop_px, crop_px]
    """
    header, tensors = read_encoder_file(path, "encoder")
    encoder = Encoder(encoder_config(header, path))
    load_strictly(encoder, tensors, str(path))
    return encoder


def encoder_config(header: Mapping[str, Any], path: Path) -> EncoderConfig:
    """Return the encoder config in the header of an encoder file.

    Args:
        header: From `read_encoder_file`.
        path: The file, for the error.

    Raises:
        CheckpointError: Another version of SurgRec wrote the config.
    """
    try:
        return from_plain(EncoderConfig, header["config"], str(path))
    except (ConfigError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path} has an encoder config that this version of SurgRec cannot read ({error}); "
            "use the version that wrote the file"
        ) from error


def encoder_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance in an encoder file, without reading the weights.

    Raises:
        CheckpointError: The file is missing, damaged or not an encoder file.
    """
    provenance: dict[str, Any] = read_encoder_file(path, "nothing")[0]["provenance"]
    return provenance


def is_encoder_file(path: Path) -> bool:
    """Return whether a file is an encoder file that SurgRec wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
    except (OSError, SafetensorError, ValueError):
        return False
    return isinstance(header, dict) and header.get("format") == _FORMAT


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a module that has exactly these names and shapes.

    Args:
        module: Receives the tensors.
        tensors: Tensors by the module's parameter names.
        origin: Where the tensors come from, for the error.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape. The error names it.
    """
    expected = module.state_dict()
    remedy = "load the file into a model of the same config"

    for name in expected:
        if name not in tensors:
            raise CheckpointError(f"{origin}: tensor '{name}' is missing; {remedy}")

    for name, tensor in tensors.items():
        if name not in expected:
            raise CheckpointError(f"{origin}: tensor '{name}' is unknown; {remedy}")
        if tensor.shape != expected[name].shape:
            raise CheckpointError(
                f"{origin}: tensor '{name}' has shape {tuple(tensor.shape)}, "
                f"expected {tuple(expected[name].shape)}; {remedy}"
            )

    module.load_state_dict(dict(tensors))


def read_encoder_file(
    path: Path, select: Literal["nothing", "encoder", "all"]
) -> tuple[dict[str, Any], dict[str, Float[Tensor, "..."]]]:
    """Return the header of an encoder file (config, provenance, components) and its tensors.

    Args:
        path: An encoder file.
        select: Which tensors to read: none, the encoder's, or those of all components.

    Raises:
        CheckpointError: The file is missing, damaged or not an encoder file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("surgrec", "{}"))
            skipped = header.get("parts", {}) if select == "encoder" else {}
            names = [name for name in file.keys() if name.partition(".")[0] not in skipped]  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in names} if select != "nothing" else {}
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason(error)}); copy or save it again"
        ) from error

    if header.get("format") != _FORMAT:
        raise CheckpointError(
            f"{path} is not an encoder file of SurgRec (format {_FORMAT}); run "
            "`surgrec import` first"
        )
    return header, tensors
