"""Names of weights here and in a foreign file: one table per format, read in both directions, and nothing left over."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from surgrec.errors import CheckpointError
from surgrec.models import State

KeyMap: TypeAlias = Mapping[str, str | tuple[str | None, ...]]
"""Our names to theirs, `*` for the number of a block. Several names: equal parts along the first axis, None for one of zeros
that is not stored. A module's name stands for its weight and its bias."""

BLOCK_MODULES = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
"""The modules of a block, by our names, which are those of timm, V-JEPA and VideoMAE."""


def same_blocks(ours: str, theirs: str) -> dict[str, str]:
    """The table of blocks that are named inside as ours are."""
    return {f"{ours}.*.{module}": f"{theirs}.*.{module}" for module in BLOCK_MODULES}


def from_surgrec(state: State, key_map: KeyMap) -> dict[str, Float[Tensor, "..."]]:
    """Our tensors by their names. A part that they do not store is left out."""
    renamed = {}
    for name, tensor in state.items():
        places = _places(name, key_map)
        for place, part in zip(
            places, tensor.chunk(len(places)) if len(places) > 1 else (tensor,), strict=True
        ):
            if place is not None:
                renamed[place] = part
    return renamed


def to_surgrec(
    tensors: State, names: Iterable[str], key_map: KeyMap
) -> dict[str, Float[Tensor, "..."]]:
    """Their tensors by our names.

    Args:
        tensors: By their names; all that the table asks for are there.
        names: Ours, of all tensors to fill.
        key_map: The format's table.

    Raises:
        CheckpointError: Tensors that are one of ours are of different types: joined, one would lose its own.
    """
    state = {}
    for name in names:
        places = _places(name, key_map)
        stored = [tensors[place] for place in places if place is not None]
        kinds = {str(part.dtype) for part in stored}
        if len(kinds) > 1:
            together = " and ".join(place for place in places if place is not None)
            raise CheckpointError(
                f"{together} are one tensor here, and of different types: {', '.join(sorted(kinds))}"
            )
        parts = [
            torch.zeros_like(stored[0]) if place is None else tensors[place] for place in places
        ]
        state[name] = parts[0] if len(parts) == 1 else torch.cat(parts)
    return state


def check_complete(found: Mapping[str, Tensor], expected: State, where: str) -> None:
    """Refuses tensors that are not exactly the expected ones.

    Args:
        found: The file's tensors, by its names.
        expected: A tensor of the expected shape for each expected name; its values do not matter.
        where: File and part, for the error.

    Raises:
        CheckpointError: Names the first tensor that is missing, unknown or of another shape, and how many are.
    """
    missing = [name for name in expected if name not in found]
    unknown = [name for name in found if name not in expected]
    if missing:
        also = f"; '{unknown[0]}' is there instead" if unknown else ""
        raise CheckpointError(
            f"{where}: '{missing[0]}' is missing, {len(missing)} of {len(expected)} tensors are{also}; give the complete "
            "file of this format"
        )
    if unknown:
        raise CheckpointError(
            f"{where}: '{unknown[0]}' has no place in this model, {len(unknown)} of {len(found)} tensors have none; name the "
            "format that the file has"
        )
    for name, tensor in found.items():
        if tensor.shape != expected[name].shape or not tensor.is_floating_point():
            raise CheckpointError(
                f"{where}: '{name}' is {_described(tensor)}, {_described(expected[name])} expected; give the file of one "
                "model, as its makers published it"
            )


def is_named_tensors(entry: object) -> TypeGuard[State]:
    """Whether an entry of a file is tensors by name, and nothing else."""
    return isinstance(entry, Mapping) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in entry.items()
    )


def num_blocks(names: Iterable[str], prefix: str) -> int:
    """One more than the highest number of a block: `prefix` is what stands before the number.

    A number far beyond the blocks that are there is not followed: a few bytes could ask for a million of them.
    """
    found = {
        name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix)
    }
    numbers = {int(number) for number in found if number.isdigit()}
    return min(1 + max(numbers), 2 * len(numbers) + 1) if numbers else 0


def _places(name: str, key_map: KeyMap) -> tuple[str | None, ...]:
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    pattern = ".".join("*" if part.isdigit() else part for part in parts)
    suffix = ""
    if pattern not in key_map:
        pattern, _, last = pattern.rpartition(".")
        suffix = f".{last}"
    places = key_map[pattern]
    found = (places,) if isinstance(places, str) else places
    number = numbers[0] if numbers else ""
    return tuple(None if place is None else place.replace("*", number) + suffix for place in found)


def _described(tensor: Tensor) -> str:
    kind = "" if tensor.is_floating_point() else f" of {tensor.dtype}"
    return f"{tuple(tensor.shape)}{kind}"
