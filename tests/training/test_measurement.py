"""A measurement of the encoder by all ranks: its progress, and its end if the run is to stop."""

import pytest
import torch
from accelerate import Accelerator

from surgrec.training import _ranks
from surgrec.training._measurement import StoppedMeasurement, gathered_unless_stopped


def measure(passes: int, *, stop_before: int) -> tuple[list[float], list[int]]:
    """Return the results of a measurement, and the signs of progress at each forward pass."""
    encoder = torch.nn.Linear(2, 1)
    seen: list[int] = []

    def work() -> list[float]:
        return [float(encoder(torch.ones(2))) for _ in range(passes)]

    def is_stop_coming() -> bool:
        seen.append(_ranks._main_thread.progress)
        return len(seen) > stop_before

    found = gathered_unless_stopped(
        Accelerator(cpu=True), encoder, work, is_stop_coming=is_stop_coming
    )
    return found, seen


def test_each_forward_pass_of_a_measurement_is_progress() -> None:
    found, seen = measure(3, stop_before=100)
    assert len(found) == 3
    assert len(set(seen)) == 4, "one before the first pass"


def test_a_request_to_stop_ends_a_measurement() -> None:
    with pytest.raises(StoppedMeasurement):
        measure(3, stop_before=2)
