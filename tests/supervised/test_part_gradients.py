"""Sums of gradients that do not depend on the number of processes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from surgrec.errors import ConfigError
from surgrec.supervised import PartGradients
from surgrec.supervised._part_gradients import PARTS, rank_parts


class Ranks:
    """Ranks as threads, which exchange vectors as processes do."""

    def __init__(self, num_ranks: int) -> None:
        self._vectors: list[Tensor] = [torch.zeros(0)] * num_ranks
        self._barrier = threading.Barrier(num_ranks)

    def gather(self, rank: int) -> Callable[[Tensor], Tensor]:
        def gather(own: Tensor) -> Tensor:
            self._vectors[rank] = own
            self._barrier.wait()
            vectors = torch.stack(self._vectors)
            self._barrier.wait()
            return vectors

        return gather


def gradient(num_ranks: int, poison: float = 0.0) -> list[Tensor]:
    """Return the gradients of two modules on the last rank, in float32 of many magnitudes."""
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(PARTS, 3, 6, generator=generator) * 10.0 ** torch.arange(PARTS)[:, None, None]
    )
    ranks = Ranks(num_ranks)

    def on_rank(rank: int) -> list[Tensor]:
        modules = [nn.Linear(6, 4), nn.Linear(6, 2)]
        gradients = PartGradients(modules, ranks.gather(rank))
        for part in rank_parts(rank, num_ranks):
            for number, module in enumerate(modules):
                loss = module(inputs[part]).sum()
                (loss * (poison if number == 0 and poison else 1.0)).backward()
            gradients.add_part()
        norms = gradients.reduce()
        assert norms.shape == (2,)
        return [
            each.grad for module in modules for each in module.parameters() if each.grad is not None
        ]

    with ThreadPoolExecutor(num_ranks) as pool:
        return list(pool.map(on_rank, range(num_ranks)))[-1]


@pytest.mark.parametrize("num_ranks", [2, 4, 8])
def test_the_bits_of_a_gradient_do_not_depend_on_the_processes(num_ranks: int) -> None:
    alone = gradient(1)
    assert all(map(torch.equal, gradient(num_ranks), alone))


def test_the_sum_is_that_of_all_parts() -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = (
        torch.randn(PARTS, 3, 6, generator=generator) * 10.0 ** torch.arange(PARTS)[:, None, None]
    )
    expected = inputs.sum((0, 1)).expand(4, 6)
    torch.testing.assert_close(gradient(1)[0], expected)


def test_a_gradient_that_is_not_finite_stops_its_head_only() -> None:
    poisoned = gradient(2, poison=float("inf"))
    assert not poisoned[0].any()
    assert not poisoned[1].any()
    assert torch.equal(poisoned[2], gradient(1)[2])


def test_processes_that_do_not_divide_the_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 processes cannot share 8 parts"):
        rank_parts(0, 3)
