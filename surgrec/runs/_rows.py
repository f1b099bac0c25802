"""JSON-lines files: append rows, read rows, drop the rows of steps that are repeated."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows to a JSON-lines file, which is created if it does not exist."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return all rows of a JSON-lines file.

    A last line without a line break was cut short by a kill and is ignored.
    A missing file has no rows.
    """
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines[:-1]]


def keep_rows_before(path: Path, step: int) -> None:
    """Drop the rows of `step` and later steps from a JSON-lines file, in one atomic replacement."""
    if path.is_file():
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        append_rows(partial, (row for row in read_rows(path) if row["step"] < step))
        partial.replace(path)
