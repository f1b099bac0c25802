"""How busy, full and warm the GPUs of a run are, for metrics.jsonl."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from surgrec.training.gpus import GIB


@dataclass(frozen=True, kw_only=True)
class GpuState:
    """The GPU of one rank at one moment."""

    memory_gib: float
    """Memory in use by all programs, GiB."""
    utilization: float | None
    """Share of the driver's newest period, at most a second, in which the GPU worked, 0 to 1; None:
    the driver does not tell."""
    temperature_c: float | None
    """Degrees Celsius; None: the driver does not tell."""


def read_gpu(device: torch.device) -> GpuState | None:
    """Return the state of the device of this rank; None if it is no GPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    percent = from_driver(torch.cuda.utilization, device)
    return GpuState(
        memory_gib=(total - free) / GIB,
        utilization=None if percent is None else percent / 100,
        temperature_c=from_driver(torch.cuda.temperature, device),
    )


def from_driver(read: Callable[[torch.device], float], device: torch.device) -> float | None:
    """Return what torch reads from NVIDIA's driver; None if the driver does not tell it.

    A slice of a GPU (MIG) has no utilization, and a container may lack the library of the driver.
    """
    try:
        from pynvml import NVMLError
    except ModuleNotFoundError:
        return None
    try:
        return float(read(device))
    except (NVMLError, RuntimeError):
        return None


def gpu_columns(states: Sequence[GpuState | None]) -> dict[str, float]:
    """Return the columns of metrics.jsonl about the GPUs of all ranks.

    Memory and temperature are the largest of the ranks, the utilization is their mean. A column
    that no rank knows is left out.
    """
    known = [state for state in states if state is not None]
    memory = [state.memory_gib for state in known]
    busy = [state.utilization for state in known if state.utilization is not None]
    warm = [state.temperature_c for state in known if state.temperature_c is not None]
    return {
        **({"gpu_utilization": statistics.fmean(busy)} if busy else {}),
        **({"gpu_memory_gib": max(memory)} if memory else {}),
        **({"gpu_temperature_c": max(warm)} if warm else {}),
    }
