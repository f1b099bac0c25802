"""What a run needs of its machine: memory, time, processor cores and disk."""

from surgrec.planning._options import PlanOptions
from surgrec.planning._run_plan import Fit, RunPlan, plan_run
from surgrec.planning._step_memory import (
    StaticMemory,
    StepMemory,
    cuda_step_bytes,
    static_memory_of,
    step_memory,
)
from surgrec.training.gpus import GPUS, Gpu

__all__ = [
    "GPUS",
    "Fit",
    "Gpu",
    "PlanOptions",
    "RunPlan",
    "StaticMemory",
    "StepMemory",
    "cuda_step_bytes",
    "plan_run",
    "static_memory_of",
    "step_memory",
]
