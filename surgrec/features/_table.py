"""Write and read `windows.parquet` and `features.json`, the tables of a folder of features."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pyarrow as pa
import torch
from jaxtyping import Float32
from msgspec import Meta
from torch import Tensor

from surgrec.errors import CheckpointError, MissingError
from surgrec.features._files import read_values
from surgrec.features._videos import VideoEntry
from surgrec.json_files import read_json, typed
from surgrec.parquet import parquet_bytes, read_parquet, row_schema
from surgrec.storage import Store, open_store
from surgrec.text import counted

_REMEDY = "remove the folder and extract the features again"
WINDOWS_FILE, FEATURES_FILE = "windows.parquet", "features.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """One row of `windows.parquet`: a window, and the location of its feature."""

    source: str
    domain: str
    case: str
    video: str
    """Name in the corpus; for a folder of videos, the path relative to it."""
    split: str
    """Stored split; empty for a folder of videos."""
    start_s: float
    """Start in seconds of the video."""
    end_s: float
    file: str
    """File of the feature, relative to the folder."""
    row: int
    """Row in the tensors of the file."""

    @property
    def key(self) -> tuple[str, str, float]:
        """Source, video and start: the name of the window among those of a stride."""
        return self.source, self.video, self.start_s


def window_rows(
    entry: VideoEntry, starts: Iterable[float], span_s: float, file: str = ""
) -> list[WindowRow]:
    """Return the rows of the windows of a video.

    Args:
        entry: The video.
        starts: Start of each window, in seconds of the video.
        span_s: Seconds of a window.
        file: File of the features.
    """
    return [
        WindowRow(
            **vars(entry),
            start_s=float(start_s),
            end_s=float(start_s) + span_s,
            file=file,
            row=row,
        )
        for row, start_s in enumerate(starts)
    ]


@dataclass(frozen=True, kw_only=True)
class FailedWindow:
    """A window that was left out, with the reason."""

    source: str
    case: str
    video: str
    start_s: float | None
    """None if the whole video is unreadable."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Features:
    """The features of all windows, in the order of the rows."""

    rows: list[WindowRow]
    values: Float32[Tensor, "n d"]
    facts: dict[str, Any]
    """The content of `features.json`: encoder, data, settings, counts."""
    failed: list[FailedWindow]


class _EncoderSize(TypedDict):
    width: Annotated[int, Meta(ge=1, le=1 << 20)]


class _EncoderFacts(TypedDict):
    config: _EncoderSize


class _FeaturesFile(TypedDict):
    """The content of `features.json`, as far as it is read back."""

    format: int
    encoder: _EncoderFacts
    failed: list[dict[str, Any]]


def read_features(out: Path) -> Features:
    """Read the features of a folder that `extract` has completed.

    Raises:
        MissingError: The folder has no features, or not all of them yet.
        CheckpointError: A file of the folder is damaged, or does not fit the others.
    """
    table = read_window_table(out)
    context = out / FEATURES_FILE
    facts = read_json(context, _FeaturesFile, error=CheckpointError, remedy=_REMEDY)
    if facts["format"] != FORMAT:
        raise CheckpointError(
            f"{context} has format {facts['format']}, but this version of SurgRec reads format "
            f"{FORMAT}; {_REMEDY}"
        )

    rows = [WindowRow(**row) for row in table.to_pylist()]
    failed = typed(
        facts["failed"],
        list[FailedWindow],
        f"{context}, failed",
        error=CheckpointError,
        remedy=_REMEDY,
    )

    width = facts["encoder"]["config"]["width"]
    return Features(
        rows=rows, values=_read_values(out, rows, width), facts=dict(facts), failed=failed
    )


def read_window_table(out: Path) -> pa.Table:
    """Read `windows.parquet` of a folder that `extract` has completed, with the columns of a row.

    Raises:
        MissingError: The folder has no features, or not all of them yet.
        CheckpointError: The table is damaged.
    """
    store = open_store(out)
    if not store.exists(FEATURES_FILE):
        raise MissingError(
            f"{out} holds no finished features (no {FEATURES_FILE}); "
            "let `surgrec features` finish first"
        )

    context = store.locate(WINDOWS_FILE)
    table = read_parquet(store.read(WINDOWS_FILE), context)
    if not table.schema.equals(row_schema(WindowRow)):
        raise CheckpointError(f"{context} has other columns than a table of windows; {_REMEDY}")
    if any(column.null_count for column in table.columns):
        raise CheckpointError(f"{context} has empty cells; {_REMEDY}")
    for file in table.column("file").unique().to_pylist():
        store.locate(file)  # refuses a name that leads out of the folder
    return table


def _read_values(out: Path, rows: Sequence[WindowRow], width: int) -> Float32[Tensor, "n d"]:
    """Return the feature of each row. Each file is read once."""
    files = {file: read_values(out / file) for file in dict.fromkeys(row.file for row in rows)}
    for row in rows:
        stored = files[row.file].shape
        if not 0 <= row.row < stored[0] or stored[1] != width:
            raise CheckpointError(
                f"{out / row.file} has {counted(stored[0], 'feature')} of width {stored[1]}, but "
                f"{WINDOWS_FILE} asks for row {row.row} of width {width}; {_REMEDY}"
            )
    values = [files[row.file][row.row] for row in rows]
    return torch.stack(values) if values else torch.zeros(0, width)


def write_tables(
    store: Store,
    rows: Sequence[WindowRow],
    failed: Sequence[FailedWindow],
    facts: Mapping[str, Any],
) -> None:
    """Write `windows.parquet`, and then `features.json`, which marks the folder as complete."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=row_schema(WindowRow))
    store.write(WINDOWS_FILE, parquet_bytes(table))
    content = {"format": FORMAT, **facts, "failed": [asdict(window) for window in failed]}
    store.write(
        FEATURES_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii")
    )
