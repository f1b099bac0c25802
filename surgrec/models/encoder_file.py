"""Encoders on disk: one safetensors file with weights, config and provenance."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from surgrec.errors import CheckpointError, MissingError, reason
from surgrec.json_files import decode_json, typed
from surgrec.models.encoder import Encoder, EncoderConfig, State, blank_encoder
from surgrec.models.provenance import Provenance, RunProvenance
from surgrec.models.tensor_files import TensorFile, check_weights, open_tensor_file

ENCODER_FILE = "encoder.safetensors"
"""Name of the encoder file in a run folder."""

_FORMAT = "surgrec-encoder-1"
_HEADER = "surgrec"
"""Name of the header in the metadata of the file."""


class EncoderHeader(TypedDict):
    """The header of an encoder file."""

    format: Literal["surgrec-encoder-1"]
    config: dict[str, Any]
    """Fields of `EncoderConfig`."""
    provenance: Provenance
    parts: NotRequired[dict[str, dict[str, Any]]]
    """Facts of each further component, by name."""


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
        CheckpointError: The file cannot be written, or a value is not JSON.
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
    try:
        metadata = {_HEADER: json.dumps(header, sort_keys=True, allow_nan=False)}
    except (ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path} cannot be written: its config or provenance is not JSON ({reason(error)}); "
            "give finite numbers, texts, lists and mappings"
        ) from error

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
    config = encoder_config(header, path)

    # Compare without memory first: a config may ask for any size, the tensors have theirs.
    check_shapes(tensors, blank_encoder(config), str(path))
    encoder = Encoder(config)
    load_strictly(encoder, tensors, str(path))
    return encoder


def encoder_config(header: EncoderHeader, path: Path) -> EncoderConfig:
    """Return the encoder config in the header of an encoder file.

    Args:
        header: From `read_encoder_file`.
        path: The file, for the error.

    Raises:
        CheckpointError: Another version of SurgRec wrote the config.
    """
    return typed(
        header["config"],
        EncoderConfig,
        f"{path}, encoder config",
        error=CheckpointError,
        remedy="use the version of SurgRec that wrote the file, or copy it again",
    )


def find_encoder_file(path: Path) -> Path:
    """Return the encoder file of a run.

    Args:
        path: Folder of a run, or an encoder file, which is returned.

    Raises:
        MissingError: Neither exists, or the run has not saved an encoder yet.
    """
    if path.is_file():
        return path

    if not path.is_dir():
        raise MissingError(
            f"{path} does not exist; give the folder of a run, or an encoder's .safetensors file"
        )

    if not (path / ENCODER_FILE).is_file():
        raise MissingError(
            f"{path} has no {ENCODER_FILE}, which a run writes with its first checkpoint; "
            "wait for that checkpoint, or name another run"
        )

    return path / ENCODER_FILE


def encoder_provenance(path: Path) -> dict[str, Any]:
    """Return the provenance in an encoder file, without reading the weights.

    Its values have the types of `surgrec.models.provenance.Provenance`, or those of `RunProvenance`
    if it has an `order`.

    Raises:
        CheckpointError: The file is missing, damaged or not an encoder file.
    """
    return dict(read_encoder_file(path, "nothing")[0]["provenance"])


def is_encoder_file(path: Path) -> bool:
    """Return whether a file is an encoder file that SurgRec wrote, perhaps a damaged one."""
    try:
        with open_tensor_file(path) as file:
            return f'"{_FORMAT}"' in file.metadata.get(_HEADER, "")
    except CheckpointError:
        return False


def load_strictly(module: nn.Module, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Copy tensors into a module that has exactly these names and shapes.

    Args:
        module: Receives the tensors.
        tensors: Tensors by the module's parameter names.
        origin: Where the tensors come from, for the error.

    Raises:
        CheckpointError: A tensor is missing, unknown, of another shape, or not finite. The error
            names it.
    """
    state = module.state_dict()
    check_shapes(tensors, state, origin)
    check_weights(tensors, origin)
    state.update(tensors)  # keeps the versions of its layers, which torch stores beside the tensors
    module.load_state_dict(state)


def check_shapes(tensors: State, expected: State, origin: str) -> None:
    """Raise an error unless tensors have exactly the expected names and shapes.

    Args:
        tensors: Tensors by name.
        expected: A tensor of each name and shape; values are ignored.
        origin: Where the tensors come from, for the error.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape. The error names it.
    """
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


def read_encoder_file(
    path: Path, select: Literal["nothing", "encoder", "all"]
) -> tuple[EncoderHeader, dict[str, Float[Tensor, "..."]]]:
    """Return the header of an encoder file (config, provenance, components) and its tensors.

    Args:
        path: An encoder file.
        select: Which tensors to read: none, the encoder's, or those of all components.

    Raises:
        CheckpointError: The file is missing, damaged or not an encoder file.
    """
    with open_tensor_file(path) as file:
        header = _read_header(file)
        skipped = header.get("parts", {}) if select == "encoder" else {}
        names = [name for name in file.names if name.partition(".")[0] not in skipped]
        return header, file.read(names) if select != "nothing" else {}


def _read_header(file: TensorFile) -> EncoderHeader:
    text = file.metadata.get(_HEADER, "")
    if f'"{_FORMAT}"' not in text:
        raise CheckpointError(
            f"{file.path} is not an encoder file of SurgRec (format {_FORMAT}); run "
            "`surgrec import` first"
        )
    context, remedy = f"{file.path}, header", "copy the file again"
    header = decode_json(text, EncoderHeader, context, error=CheckpointError, remedy=remedy)
    if "order" in header["provenance"]:  # a run made the weights
        context = f"{file.path}, provenance"
        typed(header["provenance"], RunProvenance, context, error=CheckpointError, remedy=remedy)
    return header
