"""The log of a run: metrics.jsonl and the lists of samples beside it, and the progress bar.

Losses stay on the device until the ranks exchange their steps at a sync, every few steps, so that
training never waits for a number in between.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor

from surgrec.clips import ClipBatch, Quarantined
from surgrec.errors import TrainingError
from surgrec.ranges import Range, check_ranges
from surgrec.runs import (
    CountedRow,
    QuarantineRow,
    RunFiles,
    append_rows,
    consumed_samples,
    read_rows,
)
from surgrec.runs.step_rows import StepReport, sample_rows, step_row
from surgrec.stream import ReadStats
from surgrec.training._gpu_state import GpuState, gpu_columns, read_gpu
from surgrec.training._lower_rate import lower_rate_from
from surgrec.training._ranks import on_main
from surgrec.training._trackers import TrackerName, tracked_numbers
from surgrec.training.gpus import gpu_of

_TOLERATED_BAD_SAMPLES = 20
"""Bad samples per source that never stop a run, whatever their share."""
_SKIPPED_AMONG = 1000
"""Number of newest steps among which skipped steps are counted."""
_WAITS = 1000
"""Number of newest steps whose waits for data are compared."""


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """Logging of a run."""

    every: Annotated[int, Range(1, 10**9)] = 10
    """Steps from one sync of the ranks to the next; a sync writes one row per step, looks for
    collapse, and stops a run that was asked to stop."""
    samples: bool = False
    """Also write samples.jsonl: step, slot, source, key and loss of every sample."""
    tracker: TrackerName = "none"
    """Where the numbers of metrics.jsonl, probe.jsonl and drift.jsonl are shown, too: a folder in
    the run folder, `tensorboard`, `wandb` (offline) or `mlflow`."""
    quarantine_share: Annotated[float, Range(0, 1)] = 0.01
    """Largest share of bad samples per source. 20 bad samples per source are always tolerated.
    Of the samples that an adjacent clip spoils, one per such clip counts."""
    max_skipped_steps: Annotated[int, Range(0, 1000)] = 10
    """Largest number of skipped steps among the last 1,000. A step is skipped if a loss or the
    gradient is not finite; it changes no weight."""

    def __post_init__(self) -> None:
        check_ranges(self, context="log.")


@dataclass(frozen=True, kw_only=True)
class RankReport:
    """Contribution of one rank to a sync."""

    stop: bool
    """Whether the rank was asked to stop."""
    steps: list[StepReport]
    """Steps since the last sync."""
    quarantined: list[dict[str, Any]]
    """Rows of quarantine.jsonl."""
    gpu: GpuState | None
    """The rank's GPU at the sync; None on a CPU."""


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """One step of this rank until the next sync.

    It does not keep the batch, whose frames would fill the shared memory of the loader.
    """

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
    applied: Float[Tensor, ""] | None
    values: dict[str, float | Tensor]

    def report(self, step_s: float) -> StepReport:
        """Return the step with its numbers on the host, which waits for the device."""
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
            skipped=self.applied is not None and not self.applied,
        )


@dataclass(kw_only=True)
class RunLog:
    """Collects the steps of this rank; at a sync, the main process writes those of all ranks."""

    run_dir: Path
    """Folder of the run."""
    accelerator: Accelerator
    """Connects the ranks."""
    config: LogConfig
    """Logging of the run."""
    finish_save: Callable[[], None]
    """Waits for the checkpoint that is being written; a remedy names every checkpoint."""
    last_row: dict[str, Any] | None = None
    """The newest row of metrics.jsonl."""
    new_rows: list[dict[str, Any]] = field(default_factory=list)
    """The rows of the last flush."""
    _records: list[StepRecord] = field(default_factory=list)
    _consumed: Counter[str] = field(default_factory=Counter)
    _bad: Counter[str] = field(default_factory=Counter)
    _bad_neighbors: set[str] = field(default_factory=set)
    """Clips that have spoiled the window of another sample."""
    _skipped: list[int] = field(default_factory=list)
    _waits: list[deque[float]] = field(default_factory=list)
    """Newest waits of each rank for its data."""

    def resume_at(self, step: int) -> None:
        """Drop the rows of steps that the resumed run repeats. A collective.

        Consumed and bad samples of the steps before still count, and so do skipped steps.
        """
        consumed, bad, neighbors, skipped = on_main(
            self.accelerator, lambda: self._drop_rows_from(step)
        )
        self._consumed, self._bad, self._skipped = Counter(consumed), Counter(bad), skipped
        self._bad_neighbors = set(neighbors)

    def _drop_rows_from(
        self, step: int
    ) -> tuple[Counter[str], Mapping[str, int], list[str], list[int]]:
        """Drop rows.

        Returns the consumed and bad samples, the bad neighbors and the skipped steps of the others.
        """
        files = RunFiles(self.run_dir)
        rows = [row for row in read_rows(files.metrics, CountedRow) if row["step"] < step]
        files.drop_rows_from(step)
        skipped = [row["step"] for row in rows if row.get("skipped")]
        bad = rows[-1]["quarantined"] if rows else {}
        quarantined = read_rows(files.quarantine, QuarantineRow)
        neighbors = [
            row["clip"] for row in quarantined if row.get("clip", row["key"]) != row["key"]
        ]
        return consumed_samples(rows), bad, sorted(set(neighbors)), skipped

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
        applied: Float[Tensor, ""] | None = None,
    ) -> None:
        """Record one step of this rank, without waiting for the device.

        Args:
            step: Number of the step.
            batch: The rank's batch; frames are not used.
            losses: Loss of each sample, on the device.
            flops: Floating-point operations of the step on this rank.
            began: `time.perf_counter()` before the rank asked for the batch.
            data_wait_s: Seconds that the rank waited for the batch, over all parts.
            values: Columns that are equal on every rank.
            applied: 0 if the ranks skipped the step, 1 otherwise, on the device. None: no step is
                ever skipped.
        """
        self._records.append(
            StepRecord(
                step=step,
                keys=batch.keys,
                sources=batch.sources,
                clips=len(batch.views),
                quarantined=batch.quarantined,
                read_stats=batch.read_stats,
                losses=losses,
                flops=flops,
                began=began,
                data_wait_s=data_wait_s,
                applied=applied,
                values=dict(values),
            )
        )

    def flush(self, *, stop: bool, diagnostics: Mapping[str, float]) -> bool:
        """Write all steps since the last flush. A collective: all ranks call it after one step.

        Args:
            stop: Whether this rank was asked to stop.
            diagnostics: Columns for the row of the last step; the main process's are written.

        Returns:
            Whether any rank was asked to stop.

        Raises:
            TrainingError: More steps were skipped than `max_skipped_steps` allows, a value of a
                step that was not skipped is not finite, or a source has more bad samples than
                `quarantine_share` allows.
            OSError: The disk is full.
        """
        report = self._report(stop)
        ranks: list[RankReport] = gather_object([report])
        self._records = []

        bad_samples = [row for rank in ranks for row in rank.quarantined]
        self._count_bad(bad_samples)

        # One row per step, from the reports of all ranks.
        steps = [list(reports) for reports in zip(*(rank.steps for rank in ranks), strict=True)]
        rows = [self._row(reports, is_last=reports is steps[-1]) for reports in steps]
        rows[-1] |= gpu_columns([rank.gpu for rank in ranks]) | dict(diagnostics)
        self.last_row, self.new_rows = rows[-1], rows
        on_main(self.accelerator, lambda: self._write(rows, steps, bad_samples))

        for reports in steps:
            if not reports[0].skipped:
                self._require_finite(reports)
        self._require_few_skipped_steps(newest=steps[-1][0].step)
        self._require_few_bad_samples()
        return any(rank.stop for rank in ranks)

    def _count_bad(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Count bad samples by source; an adjacent bad clip counts once, not once per window."""
        for row in rows:
            if row["clip"] == row["key"]:
                self._bad[row["source"]] += 1
            elif row["clip"] not in self._bad_neighbors:
                self._bad_neighbors.add(row["clip"])
                self._bad[row["source"]] += 1

    def track(self, values: Mapping[str, Any], step: int) -> None:
        """Send the numbers of a row after `step` steps. Called by the main process."""
        if self.config.tracker != "none":
            self.accelerator.log(tracked_numbers(values), step=step)

    def _report(self, stop: bool) -> RankReport:
        # Wait for the device, so that the clock measures work and not its queueing.
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.accelerator.device)
        step_s = (time.perf_counter() - self._records[0].began) / len(self._records)

        quarantined = [
            {"step": record.step, **asdict(bad)}
            for record in self._records
            for bad in record.quarantined
        ]
        steps = [record.report(step_s) for record in self._records]
        gpu = read_gpu(self.accelerator.device)
        return RankReport(stop=stop, steps=steps, quarantined=quarantined, gpu=gpu)

    def _row(self, reports: Sequence[StepReport], *, is_last: bool) -> dict[str, Any]:
        if not self._waits:
            self._waits = [deque(maxlen=_WAITS) for _ in reports]
        for newest, report in zip(self._waits, reports, strict=True):
            newest.append(report.data_wait_s)

        row = step_row(
            reports,
            peak_flops=_peak_flops(self.accelerator.device),
            newest_waits=self._waits if is_last else (),
        )
        self._consumed.update(row["consumed"])
        if row["skipped"]:
            self._skipped.append(row["step"])
        return row | {"quarantined": dict(sorted(self._bad.items()))}

    def _write(
        self,
        rows: Sequence[dict[str, Any]],
        steps: Sequence[Sequence[StepReport]],
        bad_samples: Sequence[dict[str, Any]],
    ) -> None:
        files = RunFiles(self.run_dir)
        append_rows(files.metrics, rows)
        for row in rows:
            self.track(row, row["step"] + 1)
        if self.config.samples:
            for reports in steps:
                append_rows(files.samples, sample_rows(reports))
        for reports in steps:
            if reports[0].skipped:
                append_rows(files.skipped, sample_rows(reports))
        append_rows(files.quarantine, bad_samples)

    def _require_finite(self, reports: Sequence[StepReport]) -> None:
        """Refuse a step that was applied although its loss or another value is not finite.

        Weights that such a step has updated never reach a checkpoint.
        """
        values = [("loss", loss) for report in reports for loss in report.losses]
        values += [item for report in reports for item in report.values.items()]
        for name, value in values:
            if not math.isfinite(value):
                step = reports[0].step
                raise TrainingError(
                    f"the {name} of step {step} is {value}; {self._lower_rate_from(step)}"
                )

    def _require_few_skipped_steps(self, newest: int) -> None:
        self._skipped = [step for step in self._skipped if step > newest - _SKIPPED_AMONG]
        if len(self._skipped) > self.config.max_skipped_steps:
            first = self._skipped[0]
            raise TrainingError(
                f"{len(self._skipped)} of the last {min(newest + 1, _SKIPPED_AMONG)} steps were "
                f"skipped, the first one step {first}, because a loss or the gradient was not "
                f"finite, more than log.max_skipped_steps {self.config.max_skipped_steps} allows; "
                f"{self._lower_rate_from(first)}; the samples of these steps are listed in "
                f"{RunFiles(self.run_dir).skipped}"
            )

    def _lower_rate_from(self, failed: int) -> str:
        """Return the remedy for a failed step. A collective: all ranks fail at the same one."""
        on_main(self.accelerator, self.finish_save)
        return lower_rate_from(self.run_dir, failed)

    def _require_few_bad_samples(self) -> None:
        for source, bad in self._bad.items():
            consumed = self._consumed[source]
            if bad > max(_TOLERATED_BAD_SAMPLES, self.config.quarantine_share * consumed):
                raise TrainingError(
                    f"{source}: {bad} of {consumed} samples were bad, more than "
                    f"log.quarantine_share {self.config.quarantine_share:g} allows; read the "
                    f"reasons in {RunFiles(self.run_dir).quarantine}, and run surgrec-shard verify"
                )


def describe_row(row: Mapping[str, Any]) -> str:
    """Return a row of metrics.jsonl as text for the progress bar."""
    loss, speed, wait_s = row["loss"], row["clips_per_s"], row["data_wait_s"]
    return f"loss {loss:.4f}  {speed:.1f} clips/s  wait {wait_s:.2f} s"


def _peak_flops(device: torch.device) -> float | None:
    """Return the peak of dense bf16 or fp16 products, FLOP/s; None on an unknown device."""
    gpu = gpu_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
    return None if gpu is None else gpu.peak_flops("fp16")
