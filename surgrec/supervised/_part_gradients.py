"""Gradients of a global batch that have the same bits on 1, 2, 4 and 8 processes.

The batch has eight fixed parts. Each part's gradient is computed alone, and the eight are added
along a binary tree: ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). A process has consecutive parts,
which are a subtree, so the tree is the same for every number of processes. DDP adds in an order
that depends on it.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from surgrec.errors import ConfigError

PARTS = 8
"""Parts of a global batch."""

Gather: TypeAlias = Callable[[Tensor], Tensor]
"""Maps a vector of this rank to the vectors of all ranks `[ranks, n]`, in order. A collective."""


def rank_parts(rank: int, num_ranks: int) -> range:
    """Return the parts of a rank.

    Raises:
        ConfigError: The number of ranks does not divide `PARTS`.
    """
    if PARTS % num_ranks:
        raise ConfigError(
            f"{num_ranks} processes cannot share {PARTS} parts of a batch evenly; start 1, 2, 4 or "
            "8 processes"
        )
    count = PARTS // num_ranks
    return range(rank * count, (rank + 1) * count)


class PartGradients:
    """Sums the gradients of parts for several modules, each alone.

    Args:
        modules: Modules without a common parameter, such as the heads of a grid.
        gather: Gathers a vector from all ranks. Default: a single rank.

    Example:
        >>> gradients = PartGradients([head], gather)
        >>> for part in rank_parts(rank, num_ranks):
        ...     loss_of(part).backward()
        ...     gradients.add_part()
        >>> gradients.reduce()
        >>> optimizer.step()
        >>> optimizer.zero_grad()
    """

    def __init__(
        self, modules: Sequence[nn.Module], gather: Gather = lambda own: own[None]
    ) -> None:
        self._parameters = [
            [each for each in module.parameters() if each.requires_grad] for module in modules
        ]
        self._gather = gather
        self._sums: list[list[tuple[int, Tensor]]] = [[] for _ in modules]

    def add_part(self) -> None:
        """Take the gradients of the next part from the modules, which then have none."""
        for parameters, sums in zip(self._parameters, self._sums, strict=True):
            vector, level = _flat_gradient(parameters), 0

            # Two sums of equally many parts become one, as a carry in a binary counter.
            while sums and sums[-1][0] == level:
                vector = sums.pop()[1].add_(vector)
                level += 1
            sums.append((level, vector))

    def reduce(self) -> Float[Tensor, " modules"]:
        """Give every rank the gradients of the whole batch. A collective.

        A gradient that is not finite becomes zero, so a head that diverges stops none of the
        others.

        Returns:
            Norm of each module's gradient, before that.
        """
        norms = []
        for parameters, sums in zip(self._parameters, self._sums, strict=True):
            ((_, own),) = sums
            sums.clear()
            total = _tree_sum(list(self._gather(own).unbind(0)))

            norm = torch.linalg.vector_norm(total)
            norms.append(norm)
            _set_gradient(parameters, torch.where(norm.isfinite(), total, 0.0))
        return torch.stack(norms)


def _tree_sum(vectors: list[Tensor]) -> Tensor:
    while len(vectors) > 1:
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [first + second for first, second in pairs]
    return vectors[0]


def _flat_gradient(parameters: Sequence[nn.Parameter]) -> Float[Tensor, " n"]:
    """Return the gradient as one new vector, and drop it; without one, zeros."""
    flat = torch.cat(
        [
            (torch.zeros_like(each) if each.grad is None else each.grad).flatten()
            for each in parameters
        ]
    )
    for each in parameters:
        each.grad = None
    return flat


def _set_gradient(parameters: Sequence[nn.Parameter], flat: Float[Tensor, " n"]) -> None:
    sizes = [each.numel() for each in parameters]
    for each, values in zip(parameters, torch.split(flat, sizes), strict=True):
        each.grad = values.view_as(each)
