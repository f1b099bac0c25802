"""Weighted means that leave out undefined values, and work in blocks of test sets."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64

_MOST_CELLS = 4_000_000
"""Numbers of one array that a block may hold."""


def mean_over_rows(
    table: Float64[np.ndarray, "v ..."], weights: Float64[np.ndarray, "r v"]
) -> Float64[np.ndarray, "r ..."]:
    """Return the weighted mean over the rows that are not NaN; NaN if all weights are 0."""
    known = np.isfinite(table)
    total = weights @ np.where(known, table, 0)
    return np.asarray(divided(total, weights @ known.astype(np.float64)))


def mean_over_columns(table: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, " r"]:
    """Return the mean of each row over the columns that are not NaN."""
    known = np.isfinite(table)
    return np.asarray(divided(np.where(known, table, 0).sum(1), known.sum(1)))


def divided(numerator: Any, denominator: Any) -> Any:
    """Return the ratio; NaN where the denominator is 0."""
    known = np.asarray(denominator) != 0
    return np.where(known, numerator / np.where(known, denominator, 1), np.nan)


def in_blocks(
    function: Callable[[Any], Any], weights: Float64[np.ndarray, "r cases"], width: int
) -> Any:
    """Return the results of `function` on blocks of rows, joined.

    Args:
        function: Returns one row per row of its argument, from an array of `width` columns.
        weights: The rows.
        width: Columns of the largest array within the function.
    """
    rows = max(1, _MOST_CELLS // max(1, width))
    return np.concatenate(
        [function(weights[start : start + rows]) for start in range(0, len(weights), rows)]
    )
