"""Compile the part of a block that a training step calls: fused kernels, and fewer launches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from surgrec.errors import ConfigError

MAX_SHAPES = 64
"""Largest number of compiled versions of a block: shapes, widths, and with or without gradient."""


def compiled(function: Callable[..., Tensor], *, fixed_shapes: bool) -> Callable[..., Tensor]:
    """Return a function that torch compiles when it is called.

    Each version is compiled at the first call that needs it, which takes seconds to a minute.

    Args:
        function: A function that can be traced as one graph.
        fixed_shapes: Compile a version for each shape. Otherwise, one version serves all sizes
            from 2 on, and another one an axis of size 1.

    Raises:
        ConfigError: At a call that needs more than `MAX_SHAPES` versions.
    """
    # Takes a second, which only runs that compile shall wait.
    from torch._dynamo.exc import FailOnRecompileLimitHit

    traced = torch.compile(  # type: ignore[call-overload]  # which lacks recompile_limit
        function,
        fullgraph=True,
        dynamic=not fixed_shapes,
        recompile_limit=MAX_SHAPES,
        isolate_recompiles=True,
    )

    def call(*inputs: Any) -> Tensor:
        try:
            result: Tensor = traced(*inputs)
        except FailOnRecompileLimitHit as error:
            raise ConfigError(
                f"the blocks of this run need more than {MAX_SHAPES} compiled versions, one for "
                "each number of clips and tokens; set compile to false, or give parts of a step "
                "that keep mask groups whole"
            ) from error
        return result

    return call
