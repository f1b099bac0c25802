"""Between two syncs of the ranks, no step reads a number from the device."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from surgrec.training import Run
from tests.support.in_process import train

aten = torch.ops.aten
WAITING = {
    aten._local_scalar_dense.default: "item, float, int or bool of a tensor, or an index by one",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten.equal.default: "equal",
    aten.unique_consecutive.default: "unique_consecutive",
    aten._unique2.default: "unique",
}
"""Operations whose result has to be known to the host, so that it waits for the device."""


class Waits(TorchDispatchMode):
    """Collects the waits of steps, as if the tensors were on a device."""

    def __init__(self) -> None:
        super().__init__()
        self.is_step = False
        self.steps = 0
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, inputs: Any = (), options: Any = None
    ) -> Any:
        masks = function is aten.index.Tensor and [
            index for index in inputs[1] if index is not None and index.dtype == torch.bool
        ]
        if self.is_step and (function in WAITING or masks):
            self.found.append(WAITING.get(function, "an index by a mask"))
        return function(*inputs, **(options or {}))


def test_a_wait_is_noticed() -> None:
    with Waits() as waits:
        waits.is_step = True
        values = torch.arange(3.0)
        float(values.sum())
        values[values > 1]
    assert len(waits.found) == 2


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["no", "fp16"])
@pytest.mark.parametrize("name", ["jepa", "mae"])
def test_steps_do_not_wait_for_the_device(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, precision: str
) -> None:
    waits = Waits()
    steps, is_sync_step = Run.steps, Run.is_sync_step

    def watched_steps(*inputs: Any) -> Iterator[Any]:
        for item in steps(*inputs):
            waits.is_step, waits.steps = True, waits.steps + 1
            yield item
            waits.is_step = False

    def watched_is_sync_step(*inputs: Any) -> bool:
        is_sync = is_sync_step(*inputs)
        waits.is_step = not is_sync
        return is_sync

    monkeypatch.setattr(Run, "steps", watched_steps)
    monkeypatch.setattr(Run, "is_sync_step", watched_is_sync_step)
    options = ["--steps", 3, "--log.every", 2, "--accumulation", 2, "--precision", precision]
    with waits:
        train(name, tiny_corpus, tmp_path / "run", *options, "--optimizer.grad_clip", 1.0)
    assert waits.steps == 3
    assert waits.found == []
