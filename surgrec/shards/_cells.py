"""Reading single cells of an index: a fifth of the time of Arrow's `as_py`."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from surgrec.shards.check_index import text_buffers


def cell_reader(column: Any) -> Callable[[int], Any]:
    """Return a function from a row to its value."""
    if not pa.types.is_string(column.type):
        item: Callable[[int], Any] = column.to_numpy().item
        return item
    ends, letters = text_buffers(column)
    end, characters = ends.item, letters.data
    return lambda row: str(characters[end(row) : end(row + 1)], "utf-8")


def optional_reader(column: Any) -> Callable[[int], int | None]:
    """Return a function from a row to its number; None where there is none."""
    if column is None:
        return lambda row: None
    if not column.null_count:
        item: Callable[[int], int] = column.to_numpy().item
        return item
    # Arrow would turn whole numbers with empty cells into rounded ones.
    value = column.fill_null(0).to_numpy().item
    is_known = column.is_valid().to_numpy(zero_copy_only=False).item
    return lambda row: value(row) if is_known(row) else None
