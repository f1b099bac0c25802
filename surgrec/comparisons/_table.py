"""A table of text, and numbers as text."""

import math
from dataclasses import dataclass

from surgrec.scores import Estimate

NONE = "-"
"""A cell without a value."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells of text; the first columns hold names, the others numbers."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    names: int
    """Columns that hold names."""
    note: str = ""
    """A sentence below the table."""


def number(value: float, digits: int = 3) -> str:
    """Return a number as text; NaN is a dash."""
    return f"{value:.{digits}f}" if math.isfinite(value) else NONE


def interval(estimate: Estimate, sign: str = "") -> str:
    """Return an estimate as text: `0.712 [0.640, 0.781]`."""
    if not math.isfinite(estimate.value):
        return NONE
    return f"{estimate.value:{sign}.3f} {bounds(estimate, sign)}"


def bounds(estimate: Estimate, sign: str = "") -> str:
    """Return the bounds of an estimate as text: `[0.640, 0.781]`."""
    if not (math.isfinite(estimate.low) and math.isfinite(estimate.high)):
        return NONE
    return f"[{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
