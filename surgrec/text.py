"""Text of unknown origin as readers may see it: names from corpora, files and command lines."""

import codecs
import unicodedata
from collections.abc import Sequence

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories of characters without a shape: controls, directions, halves of pairs, ..."""
_JOINERS = "\u200c\u200d"
"""Characters without a shape that ordinary text of some scripts has."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer ones first."""


def visible(text: str, *, kept: str = "") -> str:
    """Return text with its invisible characters written as escapes.

    A name could otherwise reverse the text behind it, erase a line of a terminal, or hold bytes
    that no page can hold.

    Args:
        text: Any text.
        kept: Invisible characters to keep, such as line breaks.
    """
    if text.isprintable():
        return text
    kept += _JOINERS
    return "".join(
        character.encode("unicode_escape").decode("ascii")
        if unicodedata.category(character) in _UNSEEN and character not in kept
        else character
        for character in text
    )


def one_line(text: str, at_most: int, *, mark: str = " ... ") -> str:
    """Return text on one line of at most so many characters.

    The middle is left out: names often differ at their ends.

    Args:
        text: Any text.
        at_most: Number of characters.
        mark: Text in place of the middle.
    """
    text = visible(text)
    if len(text) <= at_most:
        return text
    end = at_most // 3
    return f"{text[: at_most - end - len(mark)]}{mark}{text[-end:]}"


def counted(count: int, singular: str, plural: str = "") -> str:
    """Return a number with its noun: `1 video`, `2 videos`.

    Args:
        count: The number.
        singular: The noun for one.
        plural: The noun for other numbers. Default: `singular` and an s.
    """
    return f"{count} {singular if count == 1 else plural or f'{singular}s'}"


def as_list(names: str | Sequence[str]) -> list[str]:
    """Return one name, several, or none, as options take them: empty text is no name."""
    return [names] if isinstance(names, str) and names else list(names)


def marked_encoding(data: bytes) -> str:
    """Return the encoding that a byte order mark at the beginning of a text names; else nothing."""
    return next((name for mark, name in _MARKS if data.startswith(mark)), "")
