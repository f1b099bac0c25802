"""Estimate the needs of the steps of a benchmark before any of them runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.bench._choice import BenchTask
from surgrec.bench._footage import Footage, footage_of
from surgrec.bench._models import BenchVlm
from surgrec.bench._names import build_name, dedup_name, evaluate_name
from surgrec.bench._plan import Plan
from surgrec.bench._settings import Settings

BUILD_CORE_HOURS = 0.31
"""Core-hours to build an hour of video: 111.1 s of processor time for 3 minutes each of 720p30 and
1080p25 (benchmarks/README.md, `build.py`)."""
CORPUS_GB = 0.182
"""GB of an hour of video at 256 px and 8 per second (benchmarks/README.md, clips of 16 s)."""
DEDUP_CORE_HOURS = 0.01
"""Core-hours to search an hour of a corpus for near-duplicates: 6.8 s of processor time for 720 s
(benchmarks/README.md, "Cost of the search")."""
WINDOW_CORE_S = 0.0124
"""Core-seconds to decode a window of 16 frames (benchmarks/README.md, `features.py`)."""
PASSES = 4
"""Forward passes per window: one trained encoder, and three with random weights."""
FEATURES_GB = PASSES * 3600 * 1024 * 4 / 1e9
"""GB of features of an hour of video, with a window per second and 1,024 numbers per window."""
ASSUMPTIONS = (
    f"Assumed: {BUILD_CORE_HOURS:g} core-hours and {CORPUS_GB:g} GB to build an hour of video, "
    f"{DEDUP_CORE_HOURS:g} core-hours to search it for near-duplicates, "
    f"{1000 * WINDOW_CORE_S:g} ms to decode a window, and features of 1,024 numbers. A window "
    f"begins at every stride of all hours, and has {PASSES} forward passes: of the encoder, and of "
    "3 with random weights. The time of the passes and the fits of the probes come on top: they "
    "depend on the encoder and the device. Requests are at most those of all test windows, labeled "
    "or not, with controls and variations. With another --stored_fps or --short_side_px, the costs "
    "of corpora are unknown."
)


@dataclass(frozen=True, kw_only=True)
class CopyEstimate:
    """Hours of video of the copy of a data set."""

    data_set: str
    folder: Path
    is_there: bool
    hours: float | None
    basis: str
    """Where the hours are from."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The needs of a step. None: unknown."""

    step: str
    hours: float | None
    """Hours of video that it reads."""
    core_hours: float | None
    gigabytes: float | None
    """Space of its outputs."""
    is_done: bool
    forward_passes: int | None = 0
    """Windows times encoders, those with random weights included."""
    requests: int | None = 0
    """Requests to a vision-language model, at most."""


class Footages:
    """Hours of video of each copy and split, each looked up once.

    Args:
        plan: The steps.
        settings: Options of the commands.
        out: Folder of the benchmark.
    """

    def __init__(self, plan: Plan, settings: Settings, out: Path) -> None:
        self.tasks = [task for task in plan.tasks if task.split and not task.card.blocked]
        read_s: dict[Path, float] = {}
        self._of: dict[tuple[str, str], Footage] = {}
        for task in self.tasks:
            key = task.data_set, task.split
            if key not in self._of or self._of[key].hours is None:
                rate = settings.frame_fps.get(task.data_set, 0.0)
                self._of[key] = footage_of(task, out, read_s, rate)

    def of(self, task: BenchTask) -> Footage:
        """Return the hours of a task's copy, with the share of its split."""
        return self._of[task.data_set, task.split]

    def copies(self) -> list[CopyEstimate]:
        """Return the hours of each copy."""
        found: dict[str, CopyEstimate] = {}
        for task in self.tasks:
            footage = self.of(task)
            if task.data_set in found and found[task.data_set].hours is not None:
                continue
            found[task.data_set] = CopyEstimate(
                data_set=task.data_set,
                folder=task.folder,
                is_there=footage.is_there,
                hours=footage.hours,
                basis=footage.basis,
            )
        return list(found.values())


def estimate(
    plan: Plan, settings: Settings, waiting: set[str], footages: Footages
) -> list[Estimate]:
    """Return the needs of the builds, searches and evaluations of a benchmark.

    Args:
        plan: The steps.
        settings: Options of the commands.
        waiting: Names of the steps that would run.
        footages: Hours of the copies.
    """
    hours = {copy.data_set: copy.hours for copy in footages.copies()}
    rows: dict[str, Estimate] = {}
    for task in footages.tasks:
        build = build_name(task)
        if build not in rows:
            rows[build] = _build(build, hours[task.data_set], settings, waiting)
            search = dedup_name(task)
            rows[search] = _dedup(search, hours[task.data_set], settings, waiting)
        for model in plan.models:
            name = evaluate_name(task, model)
            if isinstance(model, BenchVlm):
                rows[name] = _vlm(name, task, footages.of(task), settings, waiting)
            else:
                # Other tasks of the same corpus find the features.
                is_first = _first_task(footages.tasks, task.data_set) == task
                found = hours[task.data_set]
                rows[name] = _encoder(name, task, found, settings, waiting, is_first=is_first)
    return [rows[step.name] for step in plan.steps if step.name in rows]


def _build(name: str, hours: float | None, settings: Settings, waiting: set[str]) -> Estimate:
    is_known = hours is not None and _is_measured(settings)
    return Estimate(
        step=name,
        hours=hours,
        core_hours=_times(hours, BUILD_CORE_HOURS) if is_known else None,
        gigabytes=_times(hours, CORPUS_GB) if is_known else None,
        is_done=name not in waiting,
    )


def _dedup(name: str, hours: float | None, settings: Settings, waiting: set[str]) -> Estimate:
    return Estimate(
        step=name,
        hours=hours,
        core_hours=_times(hours, DEDUP_CORE_HOURS) if _is_measured(settings) else None,
        gigabytes=_times(hours, 0.0),
        is_done=name not in waiting,
    )


def _encoder(
    name: str,
    task: BenchTask,
    hours: float | None,
    settings: Settings,
    waiting: set[str],
    *,
    is_first: bool,
) -> Estimate:
    stride_s = _stride_s(task, settings)
    cost = WINDOW_CORE_S / stride_s if is_first else 0.0
    passes = _times(hours, PASSES * 3600 / stride_s if is_first else 0.0)
    return Estimate(
        step=name,
        hours=hours,
        core_hours=_times(hours, cost) if _is_measured(settings) or not is_first else None,
        gigabytes=_times(hours, FEATURES_GB / stride_s if is_first else 0.0),
        is_done=name not in waiting,
        forward_passes=None if passes is None else round(passes),
    )


def _vlm(
    name: str, task: BenchTask, footage: Footage, settings: Settings, waiting: set[str]
) -> Estimate:
    from surgrec.vlms import PromptConfig, num_requests  # imports torch

    hours, stride_s = footage.test_hours, _stride_s(task, settings)
    requests = None
    if hours is not None:
        prompts = PromptConfig(frames=settings.vlm_frames)
        windows = round(hours * 3600 / stride_s)
        requests = num_requests(prompts, windows, task.card.class_count)
    return Estimate(
        step=name,
        hours=hours,
        core_hours=_times(hours, WINDOW_CORE_S / stride_s) if _is_measured(settings) else None,
        gigabytes=_times(hours, 0.0),
        is_done=name not in waiting,
        requests=requests,
    )


def _times(hours: float | None, factor: float) -> float | None:
    return None if hours is None else hours * factor


def _stride_s(task: BenchTask, settings: Settings) -> float:
    return settings.stride_s or task.card.protocol.stride_s


def _is_measured(settings: Settings) -> bool:
    """Return whether the costs of a corpus were measured with its rate and size of pictures."""
    return (settings.stored_fps, settings.short_side_px) == (8.0, 256)


def _first_task(tasks: Sequence[BenchTask], preset: str) -> BenchTask:
    return next(task for task in tasks if task.data_set == preset)
