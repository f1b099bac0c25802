"""Compile in a test: traced, without the minutes of a C++ compiler."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import config as type_checks
from torch._dynamo.backends.registry import set_default_backend
from torch._dynamo.utils import counters


@contextmanager
def traced_only() -> Iterator[None]:
    """Let torch trace functions and gradients and call PyTorch's own kernels.

    Checks of annotations, which cannot be traced, are off meanwhile.
    """
    torch.compiler.reset()
    counters.clear()
    set_default_backend("aot_eager")
    type_checks.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        type_checks.update("jaxtyping_disable", False)
        set_default_backend(None)
        torch.compiler.reset()


def num_versions() -> int:
    """Return how many graphs were compiled since the beginning of `traced_only`."""
    return int(counters["stats"]["unique_graphs"])
