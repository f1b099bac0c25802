"""Ranges of the numbers in a config, declared at its fields.

    width: Annotated[int, Range(1, 16_384)] = 1024

`check_ranges(self)` in `__post_init__` checks all fields.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from surgrec.errors import ConfigError, SurgrecError


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, ends included.

    Example:
        >>> 0.0 in Range(0, 1), float("nan") in Range(0, 1), 0.0 in Range(0, 1, above=True)
        (True, False, False)
    """

    low: float
    high: float
    above: bool = False
    """Whether `low` itself is excluded."""
    below: bool = False
    """Whether `high` itself is excluded."""

    def __contains__(self, value: float) -> bool:
        if not self.low <= value <= self.high:
            return False
        return not ((self.above and value == self.low) or (self.below and value == self.high))

    def __str__(self) -> str:
        low, high = (f"{end:,}" if isinstance(end, int) else f"{end:g}" for end in self._ends)
        if not self.above and not self.below:
            return f"{low} to {high}"
        first = f"more than {low}" if self.above else f"at least {low}"
        return f"{first} and {'less than' if self.below else 'at most'} {high}"

    @property
    def _ends(self) -> tuple[float, float]:
        return self.low, self.high


def check_ranges(
    config: object, *, context: str = "", error: type[SurgrecError] = ConfigError
) -> None:
    """Check the numbers in a dataclass against the `Range`s of its annotations.

    A number without a range must be finite.

    Args:
        config: A dataclass. Nested dataclasses check themselves.
        context: Start of the message.
        error: Type of the error.

    Raises:
        SurgrecError: A number lies outside its range. The error has the type `error`.
    """
    for name, hint in type_hints(type(config)).items():
        for place, value, range_ in _numbers(name, getattr(config, name, None), hint):
            if range_ is not None and value not in range_:
                raise error(f"{context}{place} is {value}; give {range_}")
            if isinstance(value, float) and not math.isfinite(value):
                raise error(f"{context}{place} is {value}; give a finite number")


def type_hints(of: Any) -> dict[str, Any]:
    """Return the annotated types of a class or function, with their ranges."""
    return _cached_hints(of)


@cache
def _cached_hints(of: Any) -> dict[str, Any]:
    return get_type_hints(of, include_extras=True)


def _numbers(place: str, value: Any, hint: Any) -> Iterator[tuple[str, float, Range | None]]:
    """Yield all numbers of a field, with their places and ranges."""
    range_ = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        range_ = next((extra for extra in extras if isinstance(extra, Range)), None)
    if get_origin(hint) in (Union, UnionType):
        for member in get_args(hint):
            if member is not NoneType:
                yield from _numbers(place, value, member)
        return

    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield place, value, range_
    elif isinstance(value, (list, tuple)) and get_origin(hint) in (list, tuple):
        hints = [each for each in get_args(hint) if each is not Ellipsis]
        for number, item in enumerate(value):
            yield from _numbers(f"{place}[{number}]", item, hints[min(number, len(hints) - 1)])
    elif isinstance(value, dict) and get_origin(hint) is dict:
        for key, item in value.items():
            yield from _numbers(f"{place}.{key}", item, get_args(hint)[1])
