"""JSON-lines files: append rows, read rows, drop the rows of steps that are repeated."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from surgrec.errors import ConfigError
from surgrec.json_files import read_json_lines
from surgrec.storage import check_owned

Step = Annotated[int, Meta(ge=0, le=1 << 53)]
Count = Annotated[int, Meta(ge=0, le=1 << 53)]


class Row(TypedDict):
    """A row of any JSON-lines file of a run."""

    step: Step


class ConsumedRow(Row):
    """A row of `metrics.jsonl`, as far as it counts samples."""

    consumed: dict[str, Count]


class CountedRow(ConsumedRow):
    """A row of `metrics.jsonl`, as far as it counts good and bad samples and skipped steps."""

    quarantined: dict[str, Count]
    skipped: NotRequired[bool]


class MetricsRow(ConsumedRow):
    """A row of `metrics.jsonl`. It has further columns."""

    loss: float
    loss_by_source: dict[str, float]
    data_wait_s: float
    data_wait_median_s: NotRequired[float]
    data_wait_rank: NotRequired[Count]
    momentum: NotRequired[float | None]
    gradient_norm: NotRequired[float | None]
    update_ratio: NotRequired[float | None]
    step_s: Annotated[float, Meta(gt=0)]
    clips_per_s: float
    mfu: NotRequired[float | None]
    mean_baseline_loss: NotRequired[float | None]
    copy_baseline_loss: NotRequired[float | None]
    token_std: NotRequired[float | None]
    rankme: NotRequired[float | None]
    between_clip_variance: NotRequired[float | None]


class StartRow(Row):
    """A row of `starts.jsonl`."""

    processes: Count


class ProbeRow(Row):
    """A row of `probe.jsonl`. It has further columns."""

    score: float
    knn: dict[str, float]
    logistic: dict[str, float]
    majority: dict[str, float]


class DriftRow(Row):
    """A row of `drift.jsonl`."""

    cosine: float
    cka: float
    pretrained: bool


class AlarmRow(Row):
    """A row of `alarms.jsonl`."""

    kind: str
    text: str
    rank: NotRequired[int]


class QuarantineRow(Row):
    """The fields of a row of `quarantine.jsonl` that name samples and clips."""

    source: str
    key: str
    clip: NotRequired[str]
    substitute: str


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a JSON-lines file, which is created if it does not exist.

    Raises:
        ConfigError: Another process has taken over a folder that this one had locked.
    """
    check_owned()
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path: Path, kind: type[Any] = Row) -> list[dict[str, Any]]:
    """Return all rows of a JSON-lines file. A missing file has no rows.

    A last line that a kill cut short is left out, which a line on standard error says.

    Args:
        path: The file.
        kind: Type of its rows.

    Raises:
        ConfigError: A line is not a row. The error names it.
    """
    return list(_rows(path, kind))


def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON-lines file anew, in one atomic replacement."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    append_rows(partial, rows)
    partial.replace(path)


def keep_rows_before(path: Path, step: int) -> None:
    """Drop the rows of `step` and later steps from a JSON-lines file, in one atomic replacement."""
    if path.exists():
        replace_rows(path, (row for row in _rows(path, Row) if row["step"] < step))


def _rows(path: Path, kind: type[Any]) -> Iterator[dict[str, Any]]:
    rows: Iterator[Any] = read_json_lines(
        path,
        kind,
        error=ConfigError,
        remedy="restore the file from a copy, or remove this line",
        any_number=True,  # the last loss of a run that diverged
    )
    return rows
