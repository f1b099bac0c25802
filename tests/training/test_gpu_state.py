"""Figures of GPUs, where a GPU or its driver tells them."""

import pytest
import torch

from surgrec.training._gpu_state import GpuState, from_driver, gpu_columns, read_gpu


def test_the_columns_are_of_the_fullest_and_the_warmest_gpu() -> None:
    states = [
        GpuState(memory_gib=61.5, utilization=0.9, temperature_c=71.0),
        GpuState(memory_gib=62.5, utilization=0.7, temperature_c=64.0),
    ]
    assert gpu_columns(states) == {
        "gpu_utilization": pytest.approx(0.8),
        "gpu_memory_gib": 62.5,
        "gpu_temperature_c": 71.0,
    }


def test_a_figure_that_no_driver_tells_has_no_column() -> None:
    silent = GpuState(memory_gib=20.0, utilization=None, temperature_c=None)
    assert gpu_columns([silent, None]) == {"gpu_memory_gib": 20.0}
    assert gpu_columns([None, None]) == {}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_machine_without_a_driver_tells_nothing() -> None:
    assert from_driver(torch.cuda.utilization, torch.device("cuda:0")) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_has_memory_in_use() -> None:
    state = read_gpu(torch.device("cuda:0"))
    assert state is not None
    assert 0 < state.memory_gib < 1000
