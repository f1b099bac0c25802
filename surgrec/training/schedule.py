"""Hyper-parameters as functions of the step: pure, so that a resumed run has nothing to restore."""

import math
from dataclasses import dataclass
from typing import Literal

from surgrec.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A linear warm-up from `start` to `value`, then `decay` to `end`."""

    value: float
    """Value after the warm-up."""

    start: float | None = None
    """Value at step 0, where there is a warm-up."""

    warmup_steps: int = 0
    """Steps from `start` to `value`."""

    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the way from `value` to `end`."""

    end: float | None = None
    """Value at `end_step` and after; none for a constant."""

    end_step: int | None = None
    """Step at which `end` is reached, counted from step 0; a run may stop earlier. None for a constant."""

    def __post_init__(self) -> None:
        if (self.start is None) != (self.warmup_steps == 0):
            raise ConfigError(f"start is {self.start} and warmup_steps is {self.warmup_steps}; give both or neither")
        constant = self.decay == "constant"
        if (self.end is None) != constant or (self.end_step is None) != constant:
            raise ConfigError(
                f"decay is {self.decay}, end is {self.end} and end_step is {self.end_step}; a constant has neither, "
                "linear and cosine have both"
            )
        if self.end_step is not None and self.end_step <= self.warmup_steps:
            raise ConfigError(
                f"end_step {self.end_step} is not after the {self.warmup_steps} warmup_steps; move one of them"
            )


def schedule_value(schedule: ScheduleConfig, step: int) -> float:
    """The value at a step, counted from 0."""
    if schedule.start is not None and step < schedule.warmup_steps:
        return _between(schedule.start, schedule.value, step / schedule.warmup_steps)
    if schedule.end is None or schedule.end_step is None:
        return schedule.value
    progress = min(1.0, (step - schedule.warmup_steps) / (schedule.end_step - schedule.warmup_steps))
    if schedule.decay == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return _between(schedule.value, schedule.end, progress)


def _between(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress
