"""Hyper-parameters as pure functions of the step, so a resume restores no schedule state."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from surgrec.errors import ConfigError
from surgrec.ranges import Range, check_ranges


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """A linear warm-up from `start` to `value`, an optional hold, then `decay` to `end`.

    Example:
        >>> lr = ScheduleConfig(start=0.0, value=1e-3, warmup_steps=10)
        >>> schedule_value(lr, 5), schedule_value(lr, 10)
        (0.0005, 0.001)

    In a config, a number alone is a schedule of this constant value.
    """

    TAKES_NUMBER: ClassVar[bool] = True
    """Whether a config may have a number here, instead of a mapping."""

    value: float
    """Value after the warm-up."""

    start: float | None = None
    """Value at step 0; None without a warm-up."""

    warmup_steps: Annotated[int, Range(0, 10**9)] = 0
    """Steps from `start` to `value`."""

    decay: Literal["constant", "linear", "cosine"] = "constant"
    """Shape of the curve from `value` to `end`."""

    decay_start: Annotated[int, Range(0, 10**9)] | None = None
    """Step until which `value` is kept; None decays right after the warm-up."""

    end: float | None = None
    """Value at `end_step` and later; None for a constant."""

    end_step: Annotated[int, Range(0, 10**9)] | None = None
    """Step at which `end` is reached; a run may stop earlier. None for a constant."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if (self.start is None) != (self.warmup_steps == 0):
            raise ConfigError(
                f"{self._context} has start {self.start} and warmup_steps {self.warmup_steps}; "
                "give both or neither"
            )

        constant = self.decay == "constant"
        if (self.end is None) != constant or (self.end_step is None) != constant:
            raise ConfigError(
                f"{self._context} has decay {self.decay}, end {self.end} and end_step "
                f"{self.end_step}; give end and end_step for linear or cosine, and neither for "
                "constant"
            )

        if self.decay_start is not None and (constant or self.decay_start < self.warmup_steps):
            raise ConfigError(
                f"{self._context} has decay_start {self.decay_start}, decay {self.decay} and "
                f"warmup_steps {self.warmup_steps}; give decay_start only with a linear or cosine "
                "decay, and not before the end of the warm-up"
            )

        if self.end_step is not None and self.end_step <= self.first_decay_step:
            raise ConfigError(
                f"{self._context} has end_step {self.end_step}, but its decay starts at step "
                f"{self.first_decay_step}; raise end_step, or lower warmup_steps or decay_start"
            )

    @property
    def _context(self) -> str:
        return f"the schedule with value {self.value:g}"

    @property
    def first_decay_step(self) -> int:
        """Step at which the decay starts."""
        return self.warmup_steps if self.decay_start is None else self.decay_start


def schedule_value(schedule: ScheduleConfig, step: int) -> float:
    """Return the value of a schedule at a step, counted from 0."""
    if schedule.start is not None and step < schedule.warmup_steps:
        return _interpolate(schedule.start, schedule.value, step / schedule.warmup_steps)
    if schedule.end is None or schedule.end_step is None:
        return schedule.value

    begin = schedule.first_decay_step
    progress = min(1.0, max(0, step - begin) / (schedule.end_step - begin))
    if schedule.decay == "cosine":
        progress = 0.5 * (1.0 - math.cos(math.pi * progress))
    return _interpolate(schedule.value, schedule.end, progress)


def _interpolate(first: float, last: float, progress: float) -> float:
    return first + (last - first) * progress
