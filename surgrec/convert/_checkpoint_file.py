"""Read other projects' checkpoints as data: PyTorch pickles, safetensors, Hugging Face folders.

No code in a file is executed: a pickle may build only tensors and the types of `ALLOWED_GLOBALS`.
"""

import argparse
import hashlib
import lzma
import pathlib
import pickle
import re
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor

from surgrec.errors import CheckpointError, reason
from surgrec.json_files import decode_json, read_json
from surgrec.models.provenance import Provenance
from surgrec.models.tensor_files import check_names, open_tensor_file
from surgrec.regular_files import check_regular, read_regular
from surgrec.storage import file_sha256

CONFIG_FILE, CARD_FILE, WEIGHTS_FILE = "config.json", "README.md", "model.safetensors"
"""Names of the files in a model folder."""

NOTE = "surgrec"
"""Key of the license and provenance that `surgrec export` writes: an entry of a pickle, or of the
metadata of safetensors."""

NAME_THE_FORMAT = "name its format with --format (in a recipe --init_format)"
"""Remedy in errors about a file that lacks a part of its format."""

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
    zlib.error,
    lzma.LZMAError,
)

_WRAPPERS = re.compile(
    r"(?<![^.])(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\."
)
"""Names that torch.compile, FSDP, activation checkpointing and Lightning insert."""
_MODULE = "module."
_MAX_CARD_BYTES = 1 << 22
_MAX_PICKLE_BYTES = 1 << 26
"""Largest pickle within a PyTorch file, without its tensors."""
_MAX_DEPTH = 64
"""Deepest nesting of the entries of a file."""
_MAX_GROWTH, _SPARE_BYTES = 8, 1 << 26
"""A file may hold tensors, or unpack to entries, of so many times its own size, and these bytes
more. The tensors of published files have at most the size of their file."""

_NUMPY_TYPES = {np.dtype(name).str: np.dtype(name) for name in ("b1", "i4", "i8", "f4", "f8")}


def _numpy_dtype(name: str, align: bool = False, copy: bool = False) -> np.dtype[Any]:
    """Return a type of NumPy's scalars: any other may ask for any memory."""
    return _NUMPY_TYPES[np.dtype(name).newbyteorder("<").str]


def _numpy_scalar(dtype: np.dtype[Any], data: str | bytes) -> Any:
    """Return a scalar of NumPy from its bytes."""
    stored = data.encode("latin-1") if isinstance(data, str) else data
    return np.frombuffer(stored, dtype=_NUMPY_TYPES[dtype.str], count=1)[0]


# Published files also hold VideoMAE's arguments, with paths, and NumPy scalars (losses, learning
# rates). Building these types does not execute code from the file.
ALLOWED_GLOBALS: list[Any] = [
    argparse.Namespace,
    (pathlib.PosixPath, "pathlib.PosixPath"),
    (pathlib.PosixPath, "pathlib._local.PosixPath"),
    (_numpy_scalar, "numpy.core.multiarray.scalar"),
    (_numpy_scalar, "numpy._core.multiarray.scalar"),
    (_numpy_dtype, "numpy.dtype"),
    *(type(dtype) for dtype in _NUMPY_TYPES.values()),
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
    note: "_Note | None" = None
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
    _require_file(path)
    content = _read_file(path)
    return CheckpointFile(
        path=path,
        sha256=file_sha256(path),
        content=_without_wrappers(content, path),
        note=_note(path, content),
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
    for file in files:
        _require_file(file)
    if len(files) == 1:
        return file_sha256(files[0])

    lines = [f"{file_sha256(file)} {file.name}\n" for file in sorted(files)]
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()


def _require_file(path: Path) -> None:
    try:
        check_regular(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path} does not exist; give a file of weights, or a folder with a {CONFIG_FILE}"
        ) from None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({reason(error)}); give a file of weights"
        ) from None


def _read_folder(folder: Path) -> CheckpointFile:
    config = _read_json(folder / CONFIG_FILE)
    files = _weight_files(folder)

    content: dict[str, Any] = {}
    for file in files:
        content |= _read_file(file)

    return CheckpointFile(
        path=folder,
        sha256=checkpoint_sha256(folder),
        content=_without_module(_without_wrappers(content, folder)),
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
    remedy = "give the folder as it was published"
    return read_json(path, dict, error=CheckpointError, remedy=remedy, any_number=True)


def _card_license(folder: Path) -> str | None:
    """Return `license:` of the model card's front matter."""
    card = folder / CARD_FILE
    if not card.is_file():
        return None

    try:
        text = read_regular(card, _MAX_CARD_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise CheckpointError(
            f"{card} cannot be read ({reason(error)}); give the folder as it was published"
        ) from None
    front_matter = re.match(r"---\n(.*?)\n---", text, flags=re.DOTALL)
    if front_matter is None:
        return None
    license = re.search(r"^license:\s*([\w.+-]+)", front_matter.group(1), flags=re.MULTILINE)
    return license.group(1) if license else None


class _Note(TypedDict):
    """What `surgrec export` writes into a file."""

    license: str | None
    provenance: Provenance


def _note(file: Path, content: Mapping[str, Any]) -> _Note | None:
    """Return the note of `surgrec export`; another project's entry of that name is ignored."""
    if file.suffix == ".safetensors":
        with open_tensor_file(file) as opened:
            text = opened.metadata.get(NOTE)
    else:
        metadata = getattr(content, STATE_DICT_METADATA, None)
        text = content.get(NOTE, metadata.get(NOTE) if isinstance(metadata, Mapping) else None)

    if not isinstance(text, str):
        return None
    try:
        return decode_json(text, _Note, f"{file}, note", error=CheckpointError, remedy="")
    except CheckpointError:
        return None


def _read_file(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        with open_tensor_file(path) as file:
            return file.read(file.names)
    content = _read_pickle(path)
    _check_tensors(path, content)
    return content


def _read_pickle(path: Path) -> Mapping[str, Any]:
    try:
        with _as_stored(path) as stored, torch.serialization.safe_globals(ALLOWED_GLOBALS):
            # Map the file if its format allows, so that an unused optimizer state is never read.
            mapped = zipfile.is_zipfile(stored)
            content = torch.load(stored, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, str(error))) from error
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is not a readable PyTorch file ({reason(error):.200}); copy it again"
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


@contextmanager
def _as_stored(path: Path) -> Iterator[Path]:
    """Give the path of a file without compression, which can be mapped: a copy if need be."""
    if not zipfile.is_zipfile(path):
        yield path
        return

    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_archive(path, entries)
        if all(entry.compress_type == zipfile.ZIP_STORED for entry in entries):
            yield path
            return

        with tempfile.NamedTemporaryFile(suffix=".pth") as copy:
            with zipfile.ZipFile(copy, "w") as stored:
                for entry in entries:
                    with archive.open(entry) as source, stored.open(entry.filename, "w") as target:
                        shutil.copyfileobj(source, target)
            copy.flush()
            yield Path(copy.name)


def _check_archive(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse an archive that unpacks to far more than its size."""
    size = path.stat().st_size
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _MAX_GROWTH * size + _SPARE_BYTES:
        raise CheckpointError(
            f"{path} has {size:,} bytes and would unpack to {unpacked:,}, which weights never do; "
            "give a file of weights"
        )

    for entry in entries:
        if entry.filename.endswith("data.pkl") and entry.file_size > _MAX_PICKLE_BYTES:
            raise CheckpointError(
                f"{path} has a pickle of {entry.file_size:,} bytes besides its tensors, more than "
                f"{_MAX_PICKLE_BYTES:,}; give a file of weights"
            )


def _check_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse content that reads as far more than its file: by nesting, sharing or shapes."""
    tensors: dict[int, Tensor] = {}
    _collect_tensors(path, content, "", 0, set(), tensors)

    size = path.stat().st_size
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if claimed > _MAX_GROWTH * size + _SPARE_BYTES:
        raise CheckpointError(
            f"{path} has {size:,} bytes, but the shapes of its tensors stand for {claimed:,}; save "
            "the tensors with their own values, not as expanded views"
        )


def _collect_tensors(
    path: Path, value: object, name: str, depth: int, done: set[int], tensors: dict[int, Tensor]
) -> None:
    """Collect each tensor once. An entry that contains itself is nested without end."""
    if depth > _MAX_DEPTH:
        raise CheckpointError(
            f"{path}: the entry '{name:.40}' is nested more than {_MAX_DEPTH} levels deep, or "
            "contains itself; give a file of weights"
        )
    if isinstance(value, Tensor):
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise CheckpointError(
                f"{path}: '{name}' is a {_kind_of(value)} tensor; save it as a dense tensor with "
                "values"
            )
        tensors[id(value)] = value
        return
    if id(value) in done or not isinstance(value, (Mapping, list, tuple)):
        return

    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        _collect_tensors(
            path, item, f"{name}.{key}" if name else str(key), depth + 1, done, tensors
        )
    done.add(id(value))


def _kind_of(tensor: Tensor) -> str:
    if tensor.is_quantized:
        return "quantized"
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    return str(tensor.device)


def _without_wrappers(content: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return entries and their tensors by their names without those that `torch.compile` inserts.

    Raises:
        CheckpointError: Two names differ in these parts alone.
    """
    return {
        name: _renamed(value, path) if isinstance(value, Mapping) else value
        for name, value in _renamed(content, path).items()
    }


def _renamed(entry: Mapping[Any, Any], path: Path) -> dict[Any, Any]:
    check_names((name for name in entry if isinstance(name, str)), path)
    renamed: dict[Any, Any] = {}
    for name, value in entry.items():
        plain = _WRAPPERS.sub("", name) if isinstance(name, str) else name
        if plain in renamed:
            raise CheckpointError(
                f"{path} has '{plain}' twice, with and without names of wrappers such as "
                "'_orig_mod.'; save one of them"
            )
        renamed[plain] = value
    return renamed


def _without_module(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return tensors by their names without DistributedDataParallel's prefix, if all have it."""
    if not all(name.startswith(_MODULE) for name in tensors):
        return tensors
    return {name.removeprefix(_MODULE): tensor for name, tensor in tensors.items()}


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
