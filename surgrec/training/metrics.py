"""What a run tells of itself: metrics.jsonl, a row per step; samples.jsonl, who was seen; quarantine.jsonl, who was bad.

Numbers stay on the device until the ranks meet, every few steps, so training never waits for one.
"""

import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from surgrec.clips import ClipBatch, Quarantined
from surgrec.errors import ConfigError, TrainingError
from surgrec.runs import StepReport, append_rows, keep_rows_before, sample_rows, step_row
from surgrec.runs.rows import METRICS_FILE, QUARANTINE_FILE, SAMPLES_FILE
from surgrec.stream import ReadStats

_LET_PASS = 20

# Dense bf16 peaks in FLOP/s, from the vendor's data sheets; on any other device the MFU is null.
_PEAK_FLOPS = {
    "A100": 312e12,
    "H100 80GB HBM3": 989e12,
    "H200": 989e12,
    "L40S": 362e12,
    "A40": 150e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is logged, and how often."""

    every: int = 10
    """Steps between two meetings of the ranks, where rows are written, a stop is agreed on and collapse is looked for."""
    samples: bool = False
    """Also write samples.jsonl: step, slot, source, key and loss of every sample."""
    quarantine_share: float = 0.01
    """Share of a source's samples that may be bad before the run stops; the first 20 bad ones are let pass."""

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.quarantine_share <= 1:
            raise ConfigError(
                f"log: every is {self.every}, at least 1; quarantine_share is {self.quarantine_share}, 0 to 1"
            )


@dataclass(frozen=True, kw_only=True)
class _Meeting:
    """What one rank brings."""

    stop: bool
    steps: list[StepReport]
    quarantined: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """One step of this rank until the ranks meet. Without its frames: they would fill the shared memory."""

    step: int
    keys: list[str]
    sources: list[str]
    clips: int
    quarantined: list[Quarantined]
    read_stats: ReadStats
    losses: Float[Tensor, " b"]
    flops: float
    began: float
    data_wait_s: float
    values: dict[str, float | Tensor]

    def report(self, step_s: float) -> StepReport:
        return StepReport(
            step=self.step,
            keys=self.keys,
            sources=self.sources,
            clips=self.clips,
            read_stats=self.read_stats,
            losses=self.losses.tolist(),
            flops=self.flops,
            data_wait_s=self.data_wait_s,
            step_s=step_s,
            values={name: float(value) for name, value in self.values.items()},
        )


@dataclass(kw_only=True)
class RunLog:
    """Collects the steps of this rank; when the ranks meet, the main one writes them down."""

    run_dir: Path
    accelerator: Accelerator
    config: LogConfig
    last_row: dict[str, Any] | None = None
    """The newest row that was written."""
    _pending: list[_Pending] = field(default_factory=list)
    _seen: Counter[str] = field(default_factory=Counter)
    _bad: Counter[str] = field(default_factory=Counter)

    def resume_at(self, step: int) -> None:
        """Removes the rows of steps that will be done again."""
        if self.accelerator.is_main_process:
            for name in (METRICS_FILE, SAMPLES_FILE, QUARANTINE_FILE):
                keep_rows_before(self.run_dir / name, step)

    def add(
        self,
        step: int,
        batch: ClipBatch,
        losses: Float[Tensor, " b"],
        *,
        flops: float,
        began: float,
        data_wait_s: float,
        values: Mapping[str, float | Tensor],
    ) -> None:
        """Notes one step of this rank; nothing is waited for.

        Args:
            step: Number of the step.
            batch: What was trained on.
            losses: Loss of each sample, on the device.
            flops: Floating-point operations of the step on this rank.
            began: `time.perf_counter()` at the beginning of the step, before its batch was there.
            data_wait_s: Seconds until the batch was there.
            values: Anything else that is the same on every rank.
        """
        self._pending.append(
            _Pending(
                step=step,
                keys=batch.keys,
                sources=batch.sources,
                clips=len(batch.frames),
                quarantined=batch.quarantined,
                read_stats=batch.read_stats,
                losses=losses,
                flops=flops,
                began=began,
                data_wait_s=data_wait_s,
                values=dict(values),
            )
        )

    def meet(self, *, stop: bool, diagnostics: Mapping[str, float]) -> bool:
        """Writes all steps since the last meeting. A collective: every rank calls it after the same step.

        Args:
            stop: Whether this rank was asked to stop.
            diagnostics: Added to the row of the last step, as the main process sees them.

        Returns:
            Whether any rank was asked to stop.

        Raises:
            TrainingError: A loss is not finite, or a source has more bad samples than `quarantine_share` allows.
        """
        quarantined = [
            {"step": step.step, **asdict(bad)} for step in self._pending for bad in step.quarantined
        ]
        if (
            self.accelerator.device.type == "cuda"
        ):  # so that the clock below counts work and not its queueing
            torch.cuda.synchronize(self.accelerator.device)
        step_s = (time.perf_counter() - self._pending[0].began) / len(self._pending)
        mine = _Meeting(
            stop=stop,
            steps=[step.report(step_s) for step in self._pending],
            quarantined=quarantined,
        )
        ranks: list[_Meeting] = gather_object([mine])
        self._pending = []
        bad = [row for rank in ranks for row in rank.quarantined]
        self._bad.update(row["source"] for row in bad)
        for number, parts in enumerate(zip(*(rank.steps for rank in ranks), strict=True)):
            is_last = number == len(mine.steps) - 1
            self._write(list(parts), diagnostics if is_last else {})
        if self.accelerator.is_main_process:
            append_rows(self.run_dir / QUARANTINE_FILE, bad)
        self._refuse_too_many_bad()
        return any(rank.stop for rank in ranks)

    def _write(self, parts: Sequence[StepReport], diagnostics: Mapping[str, float]) -> None:
        row = step_row(parts, peak_flops=_peak_flops(self.accelerator.device))
        self._seen.update(row["consumed"])
        row |= {"quarantined": dict(sorted(self._bad.items())), **diagnostics}
        self.last_row = row
        if self.accelerator.is_main_process:
            append_rows(self.run_dir / METRICS_FILE, [row])
            if self.config.samples:
                append_rows(self.run_dir / SAMPLES_FILE, sample_rows(parts))
        if not all(abs(loss) < float("inf") for part in parts for loss in part.losses):
            raise TrainingError(
                f"the loss of step {row['step']} is {row['loss']}; resume from a checkpoint with a lower learning rate"
            )

    def _refuse_too_many_bad(self) -> None:
        for source, bad in self._bad.items():
            if bad > max(_LET_PASS, self.config.quarantine_share * self._seen[source]):
                raise TrainingError(
                    f"{source}: {bad} of {self._seen[source]} samples were bad, more than log.quarantine_share "
                    f"{self.config.quarantine_share:g} allows; see {self.run_dir / QUARANTINE_FILE} and run surgrec-shard verify"
                )


def progress_bar(
    accelerator: Accelerator, first_step: int, steps: int, log: RunLog
) -> Iterator[int]:
    """The steps to do, with a bar on the main process that shows the last loss and the wait for data."""
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=Console(stderr=True), disable=not accelerator.is_main_process
    ) as bar:
        task = bar.add_task("", total=steps, completed=first_step)
        for step in range(first_step, steps):
            yield step
            row = log.last_row
            shown = (
                f"loss {row['loss']:.4f}  {row['clips_per_s']:.1f} clips/s  wait {row['data_wait_s']:.2f} s"
                if row
                else ""
            )
            bar.update(task, completed=step + 1, description=shown)


def _peak_flops(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next(
        (peak for label, peak in _PEAK_FLOPS.items() if re.search(rf"\b{label}\b", name)), None
    )
