"""Conditions on a column of clips, from the text of an address to a mask of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pyarrow import compute

from surgrec.errors import ConfigError
from surgrec.json_files import decode_json

_REMEDY = "use the fields of the page"
_MOST_FILTERS = 50

Comparison = Literal["is", "is not", "contains", "at least", "at most", "is empty"]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A condition on one column. A row without a value only meets `is empty`."""

    column: str
    comparison: Comparison
    value: str | float | int = ""
    """The value to compare with: a text, or a number in a column of numbers."""


def read_filters(text: str) -> tuple[Filter, ...]:
    """Return the filters that a JSON list describes.

    Raises:
        ConfigError: The text is no list of filters, or a long one.
    """
    if not text:
        return ()
    filters = decode_json(text, list[Filter], "filters", error=ConfigError, remedy=_REMEDY)
    if len(filters) > _MOST_FILTERS:
        raise ConfigError(f"filters has {len(filters)} conditions; use at most {_MOST_FILTERS}")
    return tuple(filters)


def mask_of(column: pa.ChunkedArray, condition: Filter) -> np.ndarray:
    """Return which rows of a column meet a condition.

    Raises:
        ConfigError: The comparison does not fit the type of the column.
    """
    if condition.comparison == "is empty":
        return np.asarray(column.is_null())
    compare = _COMPARISONS[condition.comparison]
    mask = compare(column, _value_for(column, condition)).fill_null(False)
    return np.asarray(mask)


def _value_for(column: pa.ChunkedArray, condition: Filter) -> str | float:
    if pa.types.is_string(column.type):
        if condition.comparison in ("at least", "at most"):
            raise ConfigError(
                f"{condition.column} holds texts, which are not {condition.comparison} another; "
                "compare with is, is not or contains"
            )
        return str(condition.value)

    # Other columns hold numbers.
    try:
        number = float(condition.value)
    except ValueError:
        number = float("nan")
    if condition.comparison == "contains" or not np.isfinite(number):
        raise ConfigError(
            f"{condition.column} holds numbers, which are not compared with "
            f"{condition.comparison} {condition.value!r:.40}; give a number, and is, is not, at "
            "least or at most"
        )
    return number


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "is": compute.equal,
    "is not": compute.not_equal,
    "contains": lambda column, text: compute.match_substring(column, text, ignore_case=True),
    "at least": compute.greater_equal,
    "at most": compute.less_equal,
}
