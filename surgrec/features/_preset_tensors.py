"""The tensors of a file of weights, as a preset states where they are."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from surgrec.convert import read_checkpoint_file
from surgrec.encoders import Preset
from surgrec.errors import CheckpointError


def stored_tensors(preset: Preset, weights: Path) -> dict[str, Tensor]:
    """Return the tensors of the encoder by their names without the prefix of the preset.

    Args:
        preset: States entry, prefix and the beginnings of names that are left out.
        weights: The file.

    Raises:
        CheckpointError: The file is damaged, or lacks the entry.
    """
    content: Any = read_checkpoint_file(weights).content

    # The tensors may be under an entry, such as `model` beside the optimizer.
    if preset.entry:
        if not isinstance(content.get(preset.entry), Mapping):
            found = ", ".join(f"'{name}'" for name in list(content)[:3]) or "none"
            raise CheckpointError(
                f"{weights} has no entry '{preset.entry}' of tensors (first entries: {found}); "
                f"give the file from {preset.source}"
            )
        content = content[preset.entry]

    tensors = {
        name.removeprefix(preset.prefix): value
        for name, value in content.items()
        if isinstance(name, str) and name.startswith(preset.prefix) and isinstance(value, Tensor)
    }
    return {
        name: value
        for name, value in tensors.items()
        if not name.startswith(preset.left_out or ("\0",))
    }
