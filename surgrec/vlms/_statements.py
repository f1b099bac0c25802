r"""Read what sentences of an answer state: `Answer: B`, `the answer is B`, `\boxed{B}`, `option B`.

A sentence that denies, doubts or asks states nothing. A code with another code, or with the name of
another option, in its sentence is ambiguous.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from surgrec.vlms._options import read_option

_VERDICT = re.compile(
    r"(?P<line>^[ \t>*_#-]*(?:the\s+)?(?:final\s+|correct\s+)?answer[*_]*\s*[:：][*_ \t]*(?=\S))"
    r"|(?P<is>\b(?:answer|option|choice)\s+is[*_]*\s*:?[ \t]*(?=[^\s:]))"
    r"|(?P<boxed>\\boxed\{(?:\\(?:text|textbf|mathrm|mathbf)\{)?(?P<content>[^{}\n]*)\})",
    re.IGNORECASE | re.MULTILINE,
)
_MENTION = re.compile(r"\b(?:option|choice)[ \t]+(?=[*_`\"'(\[]*[A-Za-z0-9])", re.IGNORECASE)
_CODE = re.compile(
    r"\A(?:(?:option|choice)\s+)?(?P<open>[*_`\"'(\[$]*)(?P<code>[A-Za-z]|\d+)(?![A-Za-z0-9_])"
    r"(?P<close>[*_`\"')\]$]*)",
    re.IGNORECASE,
)
_END = re.compile(r"\s*\Z|\s*[.;:](?!\S)|\s*[,)](?!\S)|\s+[-–—]\s|\s+\(", re.IGNORECASE)
"""Characters that may follow a code, so that it is not a word of its sentence."""
_REASON = re.compile(
    r"\s+(?:because|since|as|is\s+(?:the\s+)?(?:correct|right|best|answer)\b)", re.IGNORECASE
)
_WORD = re.compile(r"[^\W_]+")
_OTHERS = re.compile(r"\s*(?:,|/|&|\bor\b|\band\b)\s*", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\Z)|\n")
_UNSURE = re.compile(
    r"n[o']t\b|n’t\b|\b(?:no|never|neither|nor|cannot|unlikely|if|whether|wrong|incorrect|instead"
    r"|unclear|unsure|exclude[sd]?|eliminated?)\b",
    re.IGNORECASE,
)
_READ = 300
"""Characters of a sentence that are read on each side of a code."""


@dataclass(frozen=True)
class Statement:
    """The final statement of an answer."""

    option: int | None
    """None: it is ambiguous."""


def last_statement(text: str, codes: Sequence[str], names: Sequence[str]) -> Statement | None:
    """Return the last statement of an answer, since models correct themselves; None without one.

    Args:
        text: The answer.
        codes: Code of each option, in capitals.
        names: Name of each option.
    """
    for match in reversed(list(_VERDICT.finditer(text))):
        if match["boxed"]:
            return Statement(read_option(match["content"], codes, names))
        if match["is"] and _UNSURE.search(_before(text, match.start())):
            continue
        found = _after(text, match.end(), codes, names)
        if match["line"]:
            return found or Statement(None)
        if found:
            return found
    return None


def mentioned_options(text: str, codes: Sequence[str], names: Sequence[str]) -> set[int | None]:
    """Return the options that an answer mentions as `option B`; None among them: ambiguous ones."""
    return set(_mentions(text, codes, names))


def _mentions(text: str, codes: Sequence[str], names: Sequence[str]) -> Iterator[int | None]:
    for match in _MENTION.finditer(text):
        if _UNSURE.search(_before(text, match.start()) + _rest(text, match.end())):
            continue
        if found := _after(text, match.end(), codes, names):
            yield found.option


def _after(text: str, start: int, codes: Sequence[str], names: Sequence[str]) -> Statement | None:
    """Return the statement that begins at a place; None if it is about no option."""
    line = text[start : start + _READ].split("\n", 1)[0]
    whole = read_option(line, codes, names)
    if whole is not None:
        return Statement(whole)
    sentence = _rest(text, start)
    whole = read_option(sentence, codes, names)
    if whole is not None and not _asks(text, start, sentence):
        return Statement(whole)

    code = _CODE.match(line)
    if code is None or code["code"].upper() not in codes:
        return None
    index = codes.index(code["code"].upper())
    tail = line[code.end() :]
    if _names_others(sentence[code.end() :], index, codes, names):
        # With no mark behind it, the article "A" is a word of a sentence about something else.
        is_listed = _OTHERS.match(tail) or _END.match(tail) or _REASON.match(tail)
        return Statement(None) if is_listed else None
    is_marked = bool(code["open"]) and bool(code["close"]) and not _asks(text, start, sentence)
    if _END.match(tail) or _REASON.match(tail) or is_marked:
        return Statement(index)
    return None


def _names_others(rest: str, index: int, codes: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether the rest of a sentence has another code or the name of another option."""
    others = {code for code in codes if code != codes[index]}
    if others & set(re.findall(r"(?<![A-Za-z0-9_])(?:[A-Z]|\d+)(?![A-Za-z0-9_])", rest)):
        return True
    words = _words(rest).replace(_words(names[index]), "  ")
    return any(_words(name) in words for name in names if _words(name).strip())


def _words(text: str) -> str:
    """Return the words of a text in small letters, with a space around each."""
    return " ".join(["", *_WORD.findall(text.casefold()), ""])


def _before(text: str, start: int) -> str:
    """Return the sentence before a place."""
    part = text[max(0, start - _READ) : start]
    return _SENTENCE_END.split(part)[-1]


def _rest(text: str, start: int) -> str:
    """Return the rest of a sentence from a place on."""
    return _SENTENCE_END.split(text[start : start + _READ], maxsplit=1)[0]


def _asks(text: str, start: int, sentence: str) -> bool:
    return text[start + len(sentence) : start + len(sentence) + 1] == "?"
