"""Rename tensors between SurgRec and a format: one table per format, read in both directions."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from surgrec.convert._checkpoint_file import NAME_THE_FORMAT
from surgrec.errors import CheckpointError
from surgrec.models import State

KeyMap: TypeAlias = Mapping[str, str | tuple[str | None, ...]]
"""A format's tensor names by SurgRec's, with `*` for a block number. Several names: equal parts
along the first axis, None for a part of zeros that the format does not store. A module's name
covers its weight and its bias."""

BLOCK_MODULES = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
"""Modules of a block. SurgRec, timm, V-JEPA and VideoMAE use the same names."""


def same_blocks(blocks: str, format_blocks: str) -> dict[str, str]:
    """Return the table of blocks whose modules have SurgRec's names.

    Args:
        blocks: Prefix of SurgRec's blocks.
        format_blocks: Prefix of the format's blocks.
    """
    return {f"{blocks}.*.{module}": f"{format_blocks}.*.{module}" for module in BLOCK_MODULES}


def from_surgrec(state: State, key_map: KeyMap) -> dict[str, Float[Tensor, "..."]]:
    """Return tensors by the format's names, without the parts that the format does not store."""
    renamed = {}
    for name, tensor in state.items():
        format_names = _format_names(name, key_map)
        parts = tensor.chunk(len(format_names)) if len(format_names) > 1 else (tensor,)
        for format_name, part in zip(format_names, parts, strict=True):
            if format_name is not None:
                renamed[format_name] = part
    return renamed


def to_surgrec(
    tensors: State, names: Iterable[str], key_map: KeyMap, context: str
) -> dict[str, Float[Tensor, "..."]]:
    """Return tensors by SurgRec's names.

    Args:
        tensors: Tensors by the format's names, complete (see `check_complete`).
        names: SurgRec's names of all tensors to return.
        key_map: The format's table.
        context: The file, for the error.

    Raises:
        CheckpointError: The parts of one tensor have different types, and joining them would
            change one of them.
    """
    state = {}
    for name in names:
        format_names = _format_names(name, key_map)
        stored = {key: tensors[key] for key in format_names if key is not None}
        types = {str(part.dtype) for part in stored.values()}
        if len(types) > 1:
            raise CheckpointError(
                f"{context}: {' and '.join(stored)} are parts of one tensor but have different "
                f"types, {', '.join(sorted(types))}; store them with one type"
            )

        zeros = torch.zeros_like(next(iter(stored.values())))
        parts = [zeros if key is None else stored[key] for key in format_names]
        state[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return state


def check_complete(tensors: Mapping[str, Tensor], expected: State, context: str) -> None:
    """Raise unless the tensors have exactly the expected names and shapes.

    Args:
        tensors: Tensors of a file by their names in it.
        expected: A tensor of the expected shape for each expected name; values are ignored.
        context: File and part, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing, unexpected or of another shape,
            and counts them.
    """
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    if missing:
        also = f", and '{unexpected[0]}' is unexpected" if unexpected else ""
        raise CheckpointError(
            f"{context}: '{missing[0]}' is missing ({len(missing)} of {len(expected)} tensors "
            f"missing){also}; give the complete file, or {NAME_THE_FORMAT}"
        )
    if unexpected:
        raise CheckpointError(
            f"{context}: '{unexpected[0]}' is unexpected ({len(unexpected)} of {len(tensors)} "
            f"tensors unexpected); {NAME_THE_FORMAT}"
        )

    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            raise CheckpointError(
                f"{context}: '{name}' has shape {_shape_and_type(tensor)}, expected "
                f"{_shape_and_type(expected[name])}; give the file as it was published"
            )


def is_named_tensors(entry: object) -> TypeGuard[State]:
    """Return whether an entry of a file maps names to tensors, and holds nothing else."""
    return isinstance(entry, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in entry.items()
    )


def named_tensors(content: Mapping[str, Any], context: str) -> Mapping[str, Tensor]:
    """Return the content of a file that must hold tensors by name, and nothing else.

    Raises:
        CheckpointError: An entry is not a tensor.
    """
    if not is_named_tensors(content):
        entry = next(name for name, value in content.items() if not isinstance(value, Tensor))
        raise CheckpointError(
            f"{context}: '{entry}' is not a tensor, and this format holds only tensors; "
            f"{NAME_THE_FORMAT}"
        )
    return content


def num_blocks(names: Iterable[str], prefix: str) -> int:
    """Return one more than the highest block number after `prefix`, such as `blocks.`.

    A number far above the count of blocks is ignored: otherwise a few bytes in a file could
    request a million blocks.
    """
    rests = (name.removeprefix(prefix) for name in names if name.startswith(prefix))
    numbers = {
        int(first) for first in (rest.partition(".")[0] for rest in rests) if first.isdigit()
    }
    return min(1 + max(numbers), 2 * len(numbers) + 1) if numbers else 0


def _format_names(name: str, key_map: KeyMap) -> tuple[str | None, ...]:
    """Return the format's names of one tensor of SurgRec."""
    words = name.split(".")
    number = next((word for word in words if word.isdigit()), "")
    pattern = ".".join("*" if word.isdigit() else word for word in words)

    # Without an entry for the tensor itself, its module's entry names it.
    suffix = ""
    if pattern not in key_map:
        pattern, _, last = pattern.rpartition(".")
        suffix = f".{last}"

    entry = key_map[pattern]
    patterns = (entry,) if isinstance(entry, str) else entry
    return tuple(None if key is None else key.replace("*", number) + suffix for key in patterns)


def _shape_and_type(tensor: Tensor) -> str:
    dtype = "" if tensor.is_floating_point() else f" and type {tensor.dtype}"
    return f"{tuple(tensor.shape)}{dtype}"
