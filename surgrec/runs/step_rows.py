"""Rows of metrics.jsonl and samples.jsonl, computed from the reports of all ranks."""

import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from surgrec.stream import ReadStats


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step of one rank."""

    step: int
    """Number of the step, from 0."""
    keys: list[str]
    """Keys of the samples, in slot order."""
    sources: list[str]
    """Source of each sample."""
    clips: int
    """Number of clips: samples times views."""
    read_stats: ReadStats
    """Bytes, retries and waits of the reads."""
    losses: list[float]
    """Loss of each sample."""
    flops: float
    """Floating-point operations of this rank."""
    data_wait_s: float
    """Seconds spent waiting for the loader."""
    step_s: float
    """Seconds of the whole step, wait included: the mean over the steps between two syncs."""
    values: dict[str, float]
    """Values that are equal on every rank, such as the learning rate and the gradient norm."""
    skipped: bool = False
    """Whether all ranks skipped the update, since a loss or the gradient was not finite."""


def step_row(
    reports: Sequence[StepReport],
    *,
    peak_flops: float | None,
    newest_waits: Sequence[Collection[float]] = (),
) -> dict[str, Any]:
    """Return one row of metrics.jsonl.

    Args:
        reports: The same step on every rank, in the order of the ranks.
        peak_flops: Peak of one device in FLOP/s; None if it is unknown.
        newest_waits: Seconds that each rank waited for the loader in the newest steps, for the
            columns about their 99th percentile; empty for a row without them.
    """
    losses = [loss for report in reports for loss in report.losses]
    sources = [source for report in reports for source in report.sources]
    by_source: dict[str, list[float]] = {}
    for source, loss in zip(sources, losses, strict=True):
        by_source.setdefault(source, []).append(loss)

    # The slowest rank sets the duration of the step.
    step_s = max(report.step_s for report in reports)
    waits = [report.data_wait_s for report in reports]
    flops = sum(report.flops for report in reports)

    return {
        "step": reports[0].step,
        "loss": sum(losses) / len(losses),
        "loss_by_source": {
            source: sum(values) / len(values) for source, values in sorted(by_source.items())
        },
        "consumed": dict(sorted(Counter(sources).items())),
        "samples_sha256": _digest(key for report in reports for key in report.keys),
        **reports[0].values,
        "skipped": reports[0].skipped,
        "data_wait_s": max(waits),
        "data_wait_median_s": statistics.median(waits),
        "data_wait_rank": waits.index(max(waits)),
        **(_wait_tail(newest_waits) if newest_waits else {}),
        "step_s": step_s,
        "clips_per_s": sum(report.clips for report in reports) / step_s,
        "flops_per_s": flops / step_s,
        "mfu": flops / step_s / (peak_flops * len(reports)) if peak_flops else None,
        "read_stats": asdict(sum((report.read_stats for report in reports), ReadStats())),
    }


def sample_rows(reports: Sequence[StepReport]) -> list[dict[str, Any]]:
    """Return the rows of samples.jsonl or skipped.jsonl for one step: one per sample, slot 0 first.

    Args:
        reports: The same step on every rank, in the order of the ranks.
    """
    return [
        {
            "step": report.step,
            "slot": rank * len(report.keys) + index,
            "source": source,
            "key": key,
            "loss": loss,
        }
        for rank, report in enumerate(reports)
        for index, (source, key, loss) in enumerate(
            zip(report.sources, report.keys, report.losses, strict=True)
        )
    ]


def _digest(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode("ascii")).hexdigest()[:16]


def _wait_tail(waits: Sequence[Collection[float]]) -> dict[str, Any]:
    """Return columns about the slowest loads of each rank.

    A step waits for its slowest rank, so rare slow loads of many ranks cost much.
    """
    p99 = [sorted(each)[math.ceil(0.99 * len(each)) - 1] for each in waits]
    return {"data_wait_p99_s": max(p99), "data_wait_p99_by_rank_s": p99}
