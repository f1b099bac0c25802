"""What a run has watched besides its loss, read back from its folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surgrec.runs._files import RunFiles
from surgrec.runs._rows import AlarmRow, DriftRow, MetricsRow, ProbeRow, read_rows


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The rows of a run that tell how it is going. Each list may be empty."""

    metrics: list[dict[str, Any]]
    """Rows of `metrics.jsonl`."""
    drift: list[dict[str, Any]]
    """Rows of `drift.jsonl`."""
    probes: list[dict[str, Any]]
    """Rows of `probe.jsonl`."""
    alarms: list[dict[str, Any]]
    """Rows of `alarms.jsonl`."""


def read_watched(run_dir: Path, *, metrics: bool = True) -> Watched:
    """Read the rows of a run that tell how it is going.

    Args:
        run_dir: Folder of the run.
        metrics: Whether to read the rows of `metrics.jsonl`, which may be many.

    Raises:
        ConfigError: A row is damaged.
    """
    files = RunFiles(run_dir)
    return Watched(
        metrics=read_rows(files.metrics, MetricsRow) if metrics else [],
        drift=read_rows(files.drift, DriftRow),
        probes=read_rows(files.probe, ProbeRow),
        alarms=read_rows(files.alarms, AlarmRow),
    )
