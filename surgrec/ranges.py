"""Ranges of the numbers in a config, declared at its fields.

    width: Annotated[int, Range(1, 16_384)] = 1024

`check_ranges(self)` in `__post_init__` checks all fields.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin, get_type_hints

from surgrec.errors import ConfigError, SurgrecError


@dataclass(frozen=True)
class Range:
    """Allowed values of a number, ends included.

    Example:
        >>> 0.0 in Range(0, 1), float("nan") in Range(0, 1), 0.0 in Range(0, 1, above=True)
        (True, False, False)
    """

    low: float | int
    high: float | int
    above: bool = False
    """Whether `low` itself is excluded."""
    below: bool = False
    """Whether `high` itself is excluded."""

    def __contains__(self, value: float | int) -> bool:
        if not self.low <= value <= self.high:
            return False
        return not ((self.above and value == self.low) or (self.below and value == self.high))

    def __str__(self) -> str:
        low, high = map(_plain_end, (self.low, self.high))
        if not self.above and not self.below:
            return f"{low} to {high}"
        first = f"more than {low}" if self.above else f"at least {low}"
        return f"{first} and {'less than' if self.below else 'at most'} {high}"


Seed: TypeAlias = Annotated[int, Range(0, 2**63 - 1)]
"""Seed of random choices."""


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
        check_value(f"{context}{name}", getattr(config, name, None), hint, error=error)


def check_value(
    place: str, value: object, hint: Any, *, error: type[SurgrecError] = ConfigError
) -> None:
    """Check the numbers in one value. Errors are those of `check_ranges`.

    Args:
        place: Name of the value.
        value: A value of the type.
        hint: Its type, with ranges.
        error: Type of the error.
    """
    for name, number, range_ in _numbers(place, value, hint):
        if range_ is not None and number not in range_:
            raise error(f"{name} is {shown_number(number)}; give {range_}")
        if isinstance(number, float) and not math.isfinite(number):
            raise error(f"{name} is {number}; give a finite number")


def _plain_end(end: float | int) -> str:
    """Return an end of a range, with groups of digits if it is large."""
    if isinstance(end, float):
        return f"{end:g}"
    return f"{end:,}" if abs(end) >= 10**6 else str(end)


def shown_number(number: float | int) -> str:
    """Return a number as a message shows it, cut after some digits."""
    text = str(number)
    return text if len(text) <= 40 else f"{text[:20]}... of {len(text)} digits"


def type_hints(of: Any) -> dict[str, Any]:
    """Return the annotated types of a class or function, with their ranges."""
    return _cached_hints(of)


@cache
def _cached_hints(of: Any) -> dict[str, Any]:
    hints = get_type_hints(of, include_extras=True)

    # A subclass that only changes a default keeps the range.
    for base in of.__mro__[1:-1] if isinstance(of, type) else ():
        for name, hint in get_type_hints(base, include_extras=True).items():
            if get_origin(hint) is Annotated and get_args(hint)[0] == hints[name]:
                hints[name] = hint
    return hints


def _numbers(place: str, value: Any, hint: Any) -> Iterator[tuple[str, float | int, Range | None]]:
    """Yield all numbers of a field, with their places and ranges."""
    range_ = None
    if get_origin(hint) is Annotated:
        hint, *extras = get_args(hint)
        range_ = next((extra for extra in extras if isinstance(extra, Range)), None)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        members = [each for each in get_args(hint) if each is not NoneType]
        if range_ is None and get_origin(hint) in (Union, UnionType) and len(members) == 1:
            yield from _numbers(place, value, members[0])
        else:
            yield place, value, range_
    elif range_ is not None and is_dataclass(value):  # a schedule: the range is that of its values
        for name, inner in type_hints(type(value)).items():
            if float in (inner, *get_args(inner)) and getattr(value, name, None) is not None:
                yield f"{place}.{name}", getattr(value, name), range_
    else:
        for inner_place, item, inner_hint in _items(place, value, hint):
            yield from _numbers(inner_place, item, inner_hint)


def _items(place: str, value: Any, hint: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield the items of a list or mapping, with their places and types."""
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    for kind in kinds:
        inner = [each for each in get_args(kind) if each is not Ellipsis]
        if isinstance(value, (list, tuple)) and get_origin(kind) in (list, tuple):
            for number, item in enumerate(value):
                yield f"{place}[{number}]", item, inner[min(number, len(inner) - 1)]
        elif isinstance(value, dict) and get_origin(kind) is dict:
            for key, item in value.items():
                yield f"{place}.{key}", item, inner[1]
