"""Write and read `windows.parquet` and `features.json`, the tables of a folder of features."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float32
from torch import Tensor

from surgrec.errors import MissingError
from surgrec.features._files import read_values
from surgrec.parquet import parquet_bytes, read_parquet, row_schema
from surgrec.storage import Store, open_store

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


def read_features(out: Path) -> Features:
    """Read the features of a folder that `extract` has completed.

    Raises:
        MissingError: The folder has no features, or not all of them yet.
    """
    store = open_store(out)
    if not store.exists(FEATURES_FILE):
        raise MissingError(
            f"{out} holds no finished features (no {FEATURES_FILE}); "
            "let `surgrec features` finish first"
        )
    facts = json.loads(store.read(FEATURES_FILE))

    table = read_parquet(store.read(WINDOWS_FILE), store.locate(WINDOWS_FILE))
    rows = [WindowRow(**row) for row in table.to_pylist()]

    # Read each file once; the rows of the table pick from them.
    files = {file: read_values(out / file) for file in dict.fromkeys(row.file for row in rows)}
    values = [files[row.file][row.row] for row in rows]

    width = facts["encoder"]["config"]["width"]
    return Features(
        rows=rows,
        values=torch.stack(values) if values else torch.zeros(0, width),
        facts=facts,
        failed=[FailedWindow(**failed) for failed in facts["failed"]],
    )


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
