"""Foreign files of weights, read without running anything in them: PyTorch's pickles, safetensors, Hugging Face's folders."""

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

from surgrec.errors import CheckpointError
from surgrec.storage import file_sha256

CONFIG_FILE, CARD_FILE, WEIGHTS_FILE = "config.json", "README.md", "model.safetensors"
NOTE = "surgrec"
"""Where `surgrec export` notes license and provenance: an entry of a pickle, or of the metadata of safetensors."""

STATE_DICT_FACTS = "_metadata"
"""The attribute in which PyTorch's state dicts carry facts beside their tensors; the note of a bare one is in there."""

# Bytes that are not what PyTorch wrote lead its reader and the unpickler astray in all of these ways; a list, and not every
# Exception, since a mistake of ours is none of the file's.
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

# What the published files hold beside tensors, dicts and numbers: VideoMAE's arguments, paths among them, and NumPy's scalars
# (a logged loss, a learning rate). Building one of these runs no code of the file's choosing.
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
"""Everything that a pickle may name beyond what PyTorch's own `weights_only` list has."""


@dataclass(frozen=True, kw_only=True)
class CheckpointFile:
    """A foreign file as it was read: nothing renamed, nothing left out."""

    path: Path
    """The file or folder."""
    sha256: str
    """Of the file's bytes; of the lines `sha256 name` for the weight files of a folder with several."""
    content: Mapping[str, Any]
    """Tensors and other values by name, nested as in the file."""
    config: Mapping[str, Any] | None = None
    """The folder's config.json."""
    license: str | None = None
    """What the folder's model card says."""
    note: Mapping[str, Any] | None = None
    """What `surgrec export` wrote into it: license and provenance."""

    @property
    def name(self) -> str:
        """Of the file or folder, without the folders that it is in."""
        return self.path.absolute().name


def read_checkpoint_file(path: Path) -> CheckpointFile:
    """The content of a file, or of a folder with a config.json and weights, on the CPU.

    Raises:
        CheckpointError: It is missing or damaged, or holds an object that is not in `ALLOWED_GLOBALS`.
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
    note = _note(files[0], content)
    return CheckpointFile(
        path=folder,
        sha256=checkpoint_sha256(folder),
        content=content,
        config=config,
        license=_card_license(folder),
        note=note,
    )


def _weight_files(folder: Path) -> list[Path]:
    """One file, or the shards that an index names."""
    for name in (WEIGHTS_FILE, "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = _shards(index)
            for shard in shards:
                if Path(shard).name != shard or not (folder / shard).is_file():
                    raise CheckpointError(
                        f"{index} names the shard '{shard}', which is not in the folder; copy it there"
                    )
            if shards:
                return [folder / shard for shard in shards]
    raise CheckpointError(
        f"{folder} has neither {WEIGHTS_FILE} nor pytorch_model.bin; give a folder with weights"
    )


def _shards(index: Path) -> list[str]:
    shards = _read_json(index).get("weight_map", {})
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise CheckpointError(
            f"'weight_map' of {index} does not name a shard for each tensor; copy the index again"
        )
    return sorted(set(shards.values()))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read as JSON ({error}); give a folder as its makers published it"
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no JSON object; give a folder as its makers published it")
    return content


def _card_license(folder: Path) -> str | None:
    """`license:` of the model card's front matter."""
    card = folder / CARD_FILE
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    front = re.match(r"---\n(.*?)\n---", text, flags=re.DOTALL)
    license = (
        re.search(r"^license:\s*([\w.+-]+)", front.group(1), flags=re.MULTILINE) if front else None
    )
    return license.group(1) if license else None


def _note(file: Path, content: Mapping[str, Any]) -> dict[str, Any] | None:
    facts = getattr(content, STATE_DICT_FACTS, None)
    text = content.get(NOTE, facts.get(NOTE) if isinstance(facts, Mapping) else None)
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            text = (opened.metadata() or {}).get(NOTE)
    try:
        note = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None  # another project's entry of the same name
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
            f"{path}: not a readable safetensors file ({error}); copy it again"
        ) from error


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        # Mapped where the format allows: of a file with the optimizer's state only the encoder is ever read.
        mapped = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals(ALLOWED_GLOBALS):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGED as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{path}: not a readable PyTorch file ({reason}); copy it again"
        ) from error
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not named tensors; give a file of weights"
        )
    unnamed = [name for name in content if not isinstance(name, str)]
    if unnamed:
        raise CheckpointError(
            f"{path} has an entry {unnamed[0]!r}, which is no name; give a file of weights"
        )
    return content


def _refusal(path: Path, message: str) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|unsupported GLOBAL ([\w.]+)", message)
    if named is None:
        return f"{path}: not a pickle of tensors, so nothing of it was read; copy it again, or give a file of weights"
    found = named.group(1) or named.group(2)
    return (
        f"{path}: its pickle names '{found}', which is not on the list of what may be built, so nothing of it was run; "
        "give a file of tensors"
    )
