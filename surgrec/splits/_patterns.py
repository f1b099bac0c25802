"""Patterns for names of sources and cases: exact names, `video*`, `video{01..40}`."""

import difflib
import fnmatch
import itertools
import re
from collections.abc import Collection, Sequence

from surgrec.errors import ConfigError, shown
from surgrec.text import one_line

_RANGE = re.compile(r"(\{[0-9]+\.\.[0-9]+\})")
_MOST_NAMES, _MOST_DIGITS = 100_000, 12
"""Limits of the ranges of a rule: their number of names, digits of a number."""
_MOST_LETTERS = 60
"""Longest name in a message."""
_WILDCARDS = frozenset("*?[")


def matching_names(patterns: Sequence[str], names: set[str], kind: str, context: str) -> set[str]:
    """Return the names that at least one pattern matches; without patterns, all of them."""
    if not patterns:
        return names

    matches: set[str] = set()
    for pattern in patterns:
        alternatives = _expand(pattern)
        new = names.intersection(alternatives)
        for shell_pattern in filter(_has_wildcard, alternatives):
            new |= set(fnmatch.filter(names, shell_pattern))
        if not new:
            near = difflib.get_close_matches(alternatives[0], sorted(names), n=1, cutoff=0.5)
            remedy = f"did you mean {near[0]!r}?" if near else f"it has {some_of(names)}"
            raise ConfigError(
                f"{context}: no {kind} of the corpus matches {shown(pattern)}; {remedy}"
            )
        matches |= new
    return matches


def names_in_ranges(patterns: Sequence[str]) -> set[str]:
    """Return the names that the ranges of patterns spell out."""
    ranges = [pattern for pattern in patterns if _RANGE.search(pattern)]
    return {name for pattern in ranges for name in _expand(pattern) if not _has_wildcard(name)}


def some_of(names: Collection[str], at_most: int = 5) -> str:
    """Return the first names in alphabetical order, and the number of all others."""
    more = len(names) - at_most
    some = ", ".join(one_line(name, _MOST_LETTERS) for name in sorted(names)[:at_most])
    return some + (f" and {more} more" if more > 0 else "")


def check_ranges(patterns: Sequence[str], context: str) -> None:
    """Refuse ranges that run backwards or have too many names, before they are expanded."""
    total = 0
    for pattern in patterns:
        names = 1
        for ends in _RANGE.findall(pattern):
            first, last = ends[1:-1].split("..")
            if max(len(first), len(last)) > _MOST_DIGITS:
                raise ConfigError(
                    f"{context}: the range {ends:.40} has numbers of more than {_MOST_DIGITS} "
                    "digits; give smaller numbers"
                )
            if int(first) > int(last):
                raise ConfigError(
                    f"{context}: the range in {shown(pattern)} runs backwards; write the smaller "
                    "number first"
                )

            names = min(names * (int(last) - int(first) + 1), _MOST_NAMES + 1)

        total += names
        if total > _MOST_NAMES:
            raise ConfigError(
                f"{context}: the ranges up to {shown(pattern)} stand for more than {_MOST_NAMES:,} "
                "names; use smaller ranges or a pattern with *"
            )


def _expand(pattern: str) -> list[str]:
    """Expand the ranges of a pattern. As in a shell, `{01..40}` keeps the leading zero."""
    texts = _RANGE.split(pattern)
    alternatives = [_numbers(text) if index % 2 else [text] for index, text in enumerate(texts)]
    return ["".join(parts) for parts in itertools.product(*alternatives)]


def _numbers(ends: str) -> list[str]:
    first, last = ends[1:-1].split("..")
    width = max(len(first), len(last)) if first.startswith("0") else 1
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _has_wildcard(name: str) -> bool:
    return bool(_WILDCARDS & set(name))
