"""Regular expressions of users, matched in time linear in the text (RE2)."""

import re
from typing import Any

import re2

from surgrec.errors import ManifestError

_TOKEN = re.compile(r"\\(.)|\[\^?\]?|\]", re.DOTALL)
_WORD = r"\p{L}\p{N}_"
_OUTSIDE = {"w": f"[{_WORD}]", "W": f"[^{_WORD}]", "d": r"\p{Nd}", "D": r"\P{Nd}", "Z": r"\z"}
_INSIDE = {"w": _WORD, "d": r"\p{Nd}", "D": r"\P{Nd}"}
"""Escapes that mean ASCII in RE2, but all letters and digits in Python: outside and inside a set of
characters."""
_MOST_CHARACTERS = 1000


class UserPattern:
    r"""An expression with one group.

    It has the syntax of Python without look-around and backreferences, which RE2 cannot match.

    Args:
        text: The expression.
        name: Name of the option, for errors.

    Raises:
        ManifestError: It is no such expression.

    Example:
        >>> UserPattern(r"(case\d+)", "case_from").search("2024/case07/left.mp4")
        'case07'
    """

    def __init__(self, text: str, name: str) -> None:
        self.text = text
        if len(text) > _MOST_CHARACTERS:
            raise ManifestError(
                f"{name} has {len(text)} characters; give at most {_MOST_CHARACTERS}"
            )
        options = re2.Options()
        options.log_errors = False
        try:
            self._pattern: Any = re2.compile(_for_re2(text), options)
        except (re2.error, UnicodeEncodeError) as error:
            raise ManifestError(
                f"{name} {text!r} is not a regular expression that can be used "
                f"({_reason(error)}); correct it, without look-around and backreferences"
            ) from None
        if self._pattern.groups != 1:
            raise ManifestError(
                f"{name} {text!r} has {self._pattern.groups} groups; put parentheses around the "
                "case only"
            )

    def search(self, text: str) -> str | None:
        """Return what the group matches first in a text; None if nothing matches."""
        match = self._pattern.search(text)
        found: str | None = match.group(1) if match else None
        return found


def _for_re2(text: str) -> str:
    """Return an expression in which letters and digits are those of Unicode, as in Python."""
    is_inside = False

    def replace(match: re.Match[str]) -> str:
        nonlocal is_inside
        token, escaped = match.group(0), match.group(1)
        if escaped is None:
            is_inside = token != "]"
            return token
        return (_INSIDE if is_inside else _OUTSIDE).get(escaped, token)

    return _TOKEN.sub(replace, text)


def _reason(error: Exception) -> str:
    reason = error.args[0]
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(error)
