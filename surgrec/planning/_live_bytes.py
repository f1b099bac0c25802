"""Count the memory of the tensors that are alive, real ones or fake ones without data."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows every operation inside its `with` statement, and the storages of its results.

    A storage counts once, from the operation that makes it until its last tensor is gone, whoever
    keeps it: a variable, autograd or a cache. Temporary memory within a kernel is not seen.

    Args:
        weights: Tensors that exist before. Results that depend on them alone, such as their
            copies in bf16, count as `constant`: they do not grow with the batch.
    """

    def __init__(self, weights: list[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        """Bytes that are alive now."""
        self.constant = 0
        """Part of `live` that does not depend on the batch."""
        self.peak = 0
        """Greatest `live` so far."""
        self.constant_at_peak = 0
        """`constant` at that moment."""
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._sizes: dict[int, tuple[int, bool]] = {}

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = [
            value.untyped_storage()._cdata
            for value in tree_leaves((args, kwargs))
            if isinstance(value, Tensor)
        ]
        is_constant = bool(given) and all(map(self._is_constant, given))

        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                self._add(result, is_constant)
        return results

    def _is_constant(self, storage: int) -> bool:
        return storage in self._weights or (storage in self._sizes and self._sizes[storage][1])

    def _add(self, tensor: Tensor, is_constant: bool) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes or key in self._weights:
            return
        size = storage.nbytes()
        self._sizes[key] = (size, is_constant)
        weakref.finalize(storage, self._remove, key).atexit = False

        self.live += size
        self.constant += size if is_constant else 0
        if self.live > self.peak:
            self.peak, self.constant_at_peak = self.live, self.constant

    def _remove(self, key: int) -> None:
        size, is_constant = self._sizes.pop(key)
        self.live -= size
        self.constant -= size if is_constant else 0
