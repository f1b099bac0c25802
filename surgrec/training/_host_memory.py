"""Copies of tensors in host memory, from which files are written while the training goes on."""

import torch
from torch import Tensor


class HostMemory:
    """Memory for copies of tensors by name. Each use fills the memory of the one before again.

    New memory costs as much time as the copies. So the memory of a run grows by the size of one
    checkpoint.
    """

    def __init__(self) -> None:
        self._copies: dict[str, Tensor] = {}

    def copy(self, name: str, tensor: Tensor) -> Tensor:
        """Return a contiguous copy of a tensor, valid until the next copy of the same name."""
        copy = self._copies.get(name)
        if copy is None or (copy.shape, copy.dtype) != (tensor.shape, tensor.dtype):
            copy = torch.empty(tensor.shape, dtype=tensor.dtype)
            self._copies[name] = copy
        return copy.copy_(tensor.detach())
