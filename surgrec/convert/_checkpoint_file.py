"""Read other projects' checkpoints as data: PyTorch pickles, safetensors, Hugging Face folders.

No code in a file is executed: a pickle may build only tensors and the types of `ALLOWED_GLOBALS`.
"""

import argparse
import hashlib
import json
import pathlib
import pickle
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from surgrec.errors import CheckpointError, reason
from surgrec.storage import file_sha256

CONFIG_FILE, CARD_FILE, WEIGHTS_FILE = "config.json", "README.md", "model.safetensors"
"""Names of the files in a model folder."""

NOTE = "surgrec"
"""Key of the license and provenance that `surgrec export` writes: an entry of a pickle, or of the
metadata of safetensors."""

NAME_THE_FORMAT = "name its format with --format (in a recipe --init_format)"
"""Remedy in errors about a file that lacks what its format should have."""

STATE_DICT_METADATA = "_metadata"
"""Attribute of PyTorch's state dicts for facts beside the tensors. It holds the note of a file
without entries."""

# Damaged bytes raise any of these in PyTorch's reader or in the unpickler. The list is explicit,
# so that an error in SurgRec's code is not reported as a damaged file.
_DAMAGED = (
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)

# Published files also hold VideoMAE's arguments, with paths, and NumPy scalars (losses, learning
# rates). Building these types does not execute code from the file.
_NUMPY_SCALAR = np.float64(0).__reduce__()[0]
ALLOWED_GLOBALS: list[Any] = [
    argparse.Namespace,
    (pathlib.PosixPath, "pathlib.PosixPath"),
    (pathlib.PosixPath, "pathlib._local.PosixPath"),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("bool", "int32", "int64", "float32", "float64")),
]
"""Types that a pickle may build in addition to PyTorch's `weights_only` list."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """The content of a file or folder of another project, unchanged."""

    path: Path
    """The file or folder."""
    sha256: str
    """Digest of the weights, see `checkpoint_sha256`."""
    content: Mapping[str, Any]
    """Tensors and other values by name, nested as in the file."""
    config: Mapping[str, Any] | None = None
    """The folder's config.json."""
    license: str | None = None
    """The license in the folder's model card."""
    note: Mapping[str, Any] | None = None
    """License and provenance, if `surgrec export` wrote the file."""

    @property
    def name(self) -> str:
        """Name of the file or folder, without its parent folders."""
        return self.path.absolute().name


def read_checkpoint_file(path: Path) -> CheckpointFile:
    """Read a file, or a folder with a config.json and weights, to the CPU.

    Raises:
        CheckpointError: The path is missing or damaged, or holds an object of a type outside
            `ALLOWED_GLOBALS`.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist; give a file of weights, or a folder with a {CONFIG_FILE}"
        )

    content = _read_file(path)
    return CheckpointFile(
        path=path, sha256=file_sha256(path), content=content, note=_note(path, content)
    )


def checkpoint_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's weight files, without reading any tensor.

    Args:
        path: A file, or a folder with weights. For a folder with several weight files, the digest
            is that of the lines `sha256 name`, sorted by name.

    Raises:
        CheckpointError: The folder has no weight files, or its index is damaged.
    """
    files = _weight_files(path) if path.is_dir() else [path]
    if len(files) == 1:
        return file_sha256(files[0])

    lines = [f"{file_sha256(file)} {file.name}\n" for file in sorted(files)]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def _read_folder(folder: Path) -> CheckpointFile:
    config = _read_json(folder / CONFIG_FILE)
    files = _weight_files(folder)

    content: dict[str, Any] = {}
    for file in files:
        content |= _read_file(file)

    return CheckpointFile(
        path=folder,
        sha256=checkpoint_sha256(folder),
        content=content,
        config=config,
        license=_card_license(folder),
        note=_note(files[0], content),
    )


def _weight_files(folder: Path) -> list[Path]:
    """Return the folder's weight file, or the shards that its index names."""
    for name in (WEIGHTS_FILE, "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]

        index = folder / f"{name}.index.json"
        shards = _shard_names(index) if index.is_file() else []
        for shard in shards:
            if Path(shard).name != shard or not (folder / shard).is_file():
                raise CheckpointError(
                    f"{index} names '{shard}', which is not in its folder; copy it into the folder"
                )
        if shards:
            return [folder / shard for shard in shards]

    raise CheckpointError(
        f"{folder} has neither {WEIGHTS_FILE} nor pytorch_model.bin; give a folder with weights"
    )


def _shard_names(index: Path) -> list[str]:
    shards = _read_json(index).get("weight_map", {})
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(
            f"{index}: 'weight_map' does not map each tensor to a file name; copy the index again"
        )
    return sorted(set(shards.values()))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({reason(error)}); give the folder as it was published"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} is not a JSON object of fields; give the folder as it was published"
        )
    return content


def _card_license(folder: Path) -> str | None:
    """Return `license:` of the model card's front matter."""
    card = folder / CARD_FILE
    if not card.is_file():
        return None

    text = card.read_text(encoding="utf-8", errors="replace")
    front_matter = re.match(r"---\n(.*?)\n---", text, flags=re.DOTALL)
    if front_matter is None:
        return None
    license = re.search(r"^license:\s*([\w.+-]+)", front_matter.group(1), flags=re.MULTILINE)
    return license.group(1) if license else None


def _note(file: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the note of `surgrec export`; another project's entry of that name is ignored."""
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(NOTE)
    else:
        metadata = getattr(content, STATE_DICT_METADATA, None)
        text = content.get(NOTE, metadata.get(NOTE) if isinstance(metadata, Mapping) else None)

    try:
        note = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if not isinstance(note, dict) or not isinstance(note.get("provenance"), dict):
        return None
    return note if "license" in note and isinstance(note["license"], (str, type(None))) else None


def _read_file(path: Path) -> Mapping[str, Any]:
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason(error)}); copy it again"
        ) from error


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        # Map the file if its format allows, so that an unused optimizer state is never read.
        mapped = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is not a readable PyTorch file ({reason(error)}); copy it again"
        ) from error

    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds one object of type {type(content).__name__}, not named tensors; give "
            "a file of weights"
        )
    for name in content:
        if not isinstance(name, str):
            raise CheckpointError(
                f"{path} has the entry {name!r}, which is not a name; give a file of weights"
            )
    return content


def _refusal(path: Path, message: str) -> str:
    """Return the error for a pickle that `weights_only` refused."""
    global_name = re.search(r"GLOBAL ([\w.]+)|unsupported GLOBAL ([\w.]+)", message)
    if global_name is None:
        return (
            f"{path} is not a pickle of tensors (nothing in it was executed); copy it again, or "
            "give a file of weights"
        )
    return (
        f"{path} contains '{global_name.group(1) or global_name.group(2)}', a type that is not "
        "allowed (nothing in the file was executed); give a file of tensors"
    )
