"""Hyper-parameters as functions of the step: pure, so that a resumed run has nothing to restore."""

import math
from dataclasses import dataclass
from typing import Literal

from surgrec.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A linear warm-up from `start` to `value`, which may be held, then `decay` to `end`."""

    value: float
    """Value after the warm-up."""

    start: float | None = None
    """Value at step 0, where there is a warm-up."""

    warmup_steps: int = 0
    """Steps from `start` to `value`."""

    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the way from `value` to `end`."""

    decay_start: int | None = None
    """Step until which `value` is held; None decays right after the warm-up."""

    end: float | None = None
    """Value at `end_step` and after; none for a constant."""

    end_step: int | None = None
    """Step at which `end` is reached, counted from step 0; a run may stop earlier. None for a constant."""

    def __post_init__(self) -> None:
        if (self.start is None) != (self.warmup_steps == 0):
            raise ConfigError(
                f"start is {self.start} and warmup_steps is {self.warmup_steps}; give both or neither"
            )
        constant = self.decay == "constant"
        if (self.end is None) != constant or (self.end_step is None) != constant:
            raise ConfigError(
                f"decay is {self.decay}, end is {self.end} and end_step is {self.end_step}; a constant has neither, "
                "linear and cosine have both"
            )
        if self.decay_start is not None and (constant or self.decay_start < self.warmup_steps):
            raise ConfigError(
                f"decay_start is {self.decay_start}, decay {self.decay} and warmup_steps {self.warmup_steps}; give a linear or "
                "cosine decay, and begin it after the warm-up"
            )
        if self.end_step is not None and self.end_step <= self.first_decay_step:
            raise ConfigError(
                f"end_step {self.end_step} is not after step {self.first_decay_step}, where warm-up and hold end; move "
                "one of them"
            )

    @property
    def first_decay_step(self) -> int:
        """Step at which the way to `end` begins."""
        return self.warmup_steps if self.decay_start is None else self.decay_start


def schedule_value(schedule: ScheduleConfig, step: int) -> float:
    """The value at a step, counted from 0."""
    if schedule.start is not None and step < schedule.warmup_steps:
        return _between(schedule.start, schedule.value, step / schedule.warmup_steps)
    if schedule.end is None or schedule.end_step is None:
        return schedule.value
    begin = schedule.first_decay_step
    progress = min(1.0, max(0, step - begin) / (schedule.end_step - begin))
    if schedule.decay == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return _between(schedule.value, schedule.end, progress)


def _between(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress
