"""Open safetensors files that may be damaged, forged, or files of another kind."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from surgrec.errors import CheckpointError, reason
from surgrec.regular_files import open_regular_file

_WEIGHT_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LONGEST_NAME = 500
_PICKLES = (b"PK\x03\x04", b"\x80\x02")
"""First bytes of PyTorch's files: a zip archive, or a pickle."""


class TensorFile:
    """An open safetensors file. From `open_tensor_file`."""

    def __init__(self, path: Path, opened: Any) -> None:
        self.path = path
        self.metadata: Mapping[str, str] = opened.metadata() or {}
        """Texts by name, from the header."""
        self.names: list[str] = list(opened.keys())
        """Names of the tensors."""
        self._opened = opened

    def read(self, names: Iterable[str]) -> dict[str, Tensor]:
        """Return tensors by name, on the CPU.

        Raises:
            CheckpointError: The file has no tensor of a name, or its shape or type is unusable.
        """
        tensors = {}
        for name in names:
            try:
                tensors[name] = self._opened.get_tensor(name)
            except (SafetensorError, TypeError, RuntimeError) as error:
                raise CheckpointError(
                    f"{self.path}: the tensor {name!r} cannot be read ({reason(error):.200}); copy "
                    "or save the file again"
                ) from None
        return tensors


@contextmanager
def open_tensor_file(path: Path) -> Iterator[TensorFile]:
    """Open a safetensors file, of which only the header is read.

    Raises:
        CheckpointError: The file is missing, not a regular file, damaged, or of another kind.
    """
    start = b""
    try:
        with open_regular_file(path) as file:
            start = file.read(4)
        opened = safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        content = (
            "is a PyTorch pickle under the name of a safetensors file; import it under its own "
            "suffix, .pth"
            if start.startswith(_PICKLES)
            else f"is not a readable safetensors file ({reason(error)}); copy or save it again"
        )
        raise CheckpointError(f"{path} {content}") from None

    with opened:
        tensors = TensorFile(path, opened)
        check_names(tensors.names, path)
        yield tensors


def check_names(names: Iterable[str], path: Path) -> None:
    """Raise CheckpointError if a name cannot be that of a tensor, nor be shown in a message."""
    for name in names:
        if len(name) > _LONGEST_NAME or not name.isprintable():
            raise CheckpointError(
                f"{path} has an entry named {name!r:.80}, but names of tensors are printable and "
                f"have at most {_LONGEST_NAME} characters; give a file of weights"
            )


def check_weights(tensors: Mapping[str, Tensor], origin: str) -> None:
    """Raise an error if a tensor cannot be the weights of a network.

    Args:
        tensors: Tensors by name.
        origin: Where the tensors come from, for the error.

    Raises:
        CheckpointError: Names the first tensor that has another type, or a NaN or an infinity.
    """
    for name, tensor in tensors.items():
        if tensor.is_sparse or tensor.dtype not in _WEIGHT_TYPES:
            kind = "sparse" if tensor.is_sparse else str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{origin}: the tensor '{name}' is {kind}; save the weights as dense tensors of "
                "type float32, float16 or bfloat16"
            )

        if not is_finite(tensor):
            raise CheckpointError(
                f"{origin}: the tensor '{name}' has values that are NaN or infinite; use the "
                "weights of an earlier step, or copy the file again"
            )


def require_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Compare a file that was just written with the tensors that it must hold, bit for bit.

    Args:
        path: A safetensors file.
        tensors: Contiguous tensors by name, on the CPU.

    Raises:
        CheckpointError: The file holds other values.
    """
    with open_tensor_file(path) as file:
        for name, tensor in tensors.items():
            (found,) = file.read([name]).values()
            if not torch.equal(_bytes(found), _bytes(tensor)):
                raise CheckpointError(
                    f"{path}: the disk returns other values of '{name}' than were written; check "
                    "the disk"
                )


def _bytes(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def is_finite(tensor: Tensor) -> bool:
    """Return whether no value is NaN or infinite."""
    if tensor.is_meta or not tensor.numel():  # no values
        return True
    # One pass without a copy: a NaN or an infinity is always the least or the greatest value.
    return bool(torch.isfinite(torch.stack(torch.aminmax(tensor))).all())
