"""All features of a folder as one table: `windows.parquet`, `features.json`, and reading them with the features."""

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
from surgrec.features.files import read_values
from surgrec.parquet import parquet_bytes, read_parquet, row_schema
from surgrec.storage import Store, open_store

WINDOWS_FILE, FEATURES_FILE = "windows.parquet", "features.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """One row of `windows.parquet`: a window, and where its feature is. Seconds of the video's own time."""

    source: str
    domain: str
    case: str
    video: str
    """As in the corpus; for a folder of videos the path relative to it."""
    split: str
    """As stored in the corpus; empty for a folder of videos."""
    start_s: float
    end_s: float
    file: str
    """Relative to the folder of the features."""
    row: int
    """In the file's tensors."""


@dataclass(frozen=True, kw_only=True)
class FailedWindow:
    """A window that was left out, and why."""

    source: str
    case: str
    video: str
    start_s: float | None
    """None where the whole video cannot be read."""
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
    """The features of a folder that `extract` finished.

    Raises:
        MissingError: The folder does not hold them, or not all of them yet.
    """
    store = open_store(out)
    if not store.exists(FEATURES_FILE):
        raise MissingError(
            f"{out} holds no finished features (no {FEATURES_FILE}); let `surgrec features` finish first"
        )
    facts = json.loads(store.read(FEATURES_FILE))
    table = read_parquet(store.read(WINDOWS_FILE), store.locate(WINDOWS_FILE))
    rows = [WindowRow(**row) for row in table.to_pylist()]
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
    """Writes `windows.parquet`, and then `features.json`, which says that everything is there."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=row_schema(WindowRow))
    store.write(WINDOWS_FILE, parquet_bytes(table))
    content = {"format": FORMAT, **facts, "failed": [asdict(window) for window in failed]}
    store.write(
        FEATURES_FILE, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode("ascii")
    )
