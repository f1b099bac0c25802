"""Rows of a run's JSON-lines files: made of what the ranks report, written, and read again."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError
from surgrec.stream import ReadStats

METRICS_FILE, SAMPLES_FILE, QUARANTINE_FILE, STARTS_FILE = (
    "metrics.jsonl",
    "samples.jsonl",
    "quarantine.jsonl",
    "starts.jsonl",
)


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """One step, as one rank saw it."""

    step: int
    keys: list[str]
    sources: list[str]
    clips: int
    """Of these samples, all their views."""
    read_stats: ReadStats
    losses: list[float]
    """One per sample."""
    flops: float
    data_wait_s: float
    """Waiting for the loader, seconds."""
    step_s: float
    """The whole step, the wait included: the mean over the steps between two meetings of the ranks."""
    values: dict[str, float]
    """Anything else that is the same on every rank: learning rate, gradient norm, ..."""


def step_row(parts: Sequence[StepReport], *, peak_flops: float | None) -> dict[str, Any]:
    """One row of metrics.jsonl from the reports of all ranks, in the order of the ranks.

    Args:
        parts: The same step on every rank.
        peak_flops: Of one device, FLOP/s; None where it is not known.
    """
    losses = [loss for part in parts for loss in part.losses]
    sources = [source for part in parts for source in part.sources]
    step_s = max(part.step_s for part in parts)
    flops = sum(part.flops for part in parts)
    by_source: dict[str, list[float]] = {}
    for source, loss in zip(sources, losses, strict=True):
        by_source.setdefault(source, []).append(loss)
    return {
        "step": parts[0].step,
        "loss": sum(losses) / len(losses),
        "loss_by_source": {
            source: sum(values) / len(values) for source, values in sorted(by_source.items())
        },
        "consumed": dict(sorted(Counter(sources).items())),
        "samples_sha256": _digest(key for part in parts for key in part.keys),
        **parts[0].values,
        "data_wait_s": max(part.data_wait_s for part in parts),
        "step_s": step_s,
        "clips_per_s": sum(part.clips for part in parts) / step_s,
        "flops_per_s": flops / step_s,
        "mfu": flops / step_s / (peak_flops * len(parts)) if peak_flops else None,
        "reading": asdict(sum((part.read_stats for part in parts), ReadStats())),
    }


def sample_rows(parts: Sequence[StepReport]) -> list[dict[str, Any]]:
    """Rows of samples.jsonl: one per sample of a step, slot 0 first."""
    return [
        {
            "step": part.step,
            "slot": rank * len(part.keys) + place,
            "source": source,
            "key": key,
            "loss": loss,
        }
        for rank, part in enumerate(parts)
        for place, (source, key, loss) in enumerate(
            zip(part.sources, part.keys, part.losses, strict=True)
        )
    ]


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a JSON-lines file."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """All rows of a JSON-lines file; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, at least one.

    Raises:
        ConfigError: The folder holds no run, or one that has not logged a step.
    """
    rows = read_rows(run_dir / METRICS_FILE)
    if not rows:
        raise ConfigError(
            f"{run_dir} holds no run that has logged a step (no rows in {METRICS_FILE})"
        )
    return rows


def consumed_samples(rows: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Samples of each source that these rows of metrics.jsonl count."""
    consumed: Counter[str] = Counter()
    for row in rows:
        consumed.update(row["consumed"])
    return consumed


def keep_rows_before(path: Path, step: int) -> None:
    """Drops the rows of `step` and after from a JSON-lines file."""
    if path.is_file():
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        append_rows(partial, (row for row in read_rows(path) if row["step"] < step))
        partial.replace(path)


def _digest(keys: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode("ascii")).hexdigest()[:16]
