"""Read answers of a model: options by code or by name in a fixed form, and booleans by name.

The article "A" at the beginning of a sentence is not option A. A code counts only in JSON, in a
statement such as "Answer: A", or if it is all that the first or the last line says.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from surgrec.vlms._options import plain_text, read_option
from surgrec.vlms._statements import last_statement, mentioned_options

_THINKING_ENDS = "</think>"
_FENCE = re.compile(r"\A```\w*\s*\n(.*?)\n?```\s*\Z", re.DOTALL)
_LONGEST = 100_000
"""Characters above which an answer is not read."""


def parse_choice(text: str, codes: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the index of the option that an answer names; None if it names none or several.

    Args:
        text: The answer.
        codes: Code of each option, such as `A`.
        names: Name of each option.

    Example:
        >>> parse_choice("Answer: B", ["A", "B"], ["access", "closure"])
        1
        >>> parse_choice("A grasper is visible.", ["A", "B"], ["access", "closure"])
    """
    answer = _spoken(text)
    if answer is None:
        return None
    content = _json(answer)
    if isinstance(content, dict):
        given = [value for key, value in content.items() if str(key).lower() == "answer"]
        return read_option(given[0], codes, names) if len(given) == 1 else None
    if isinstance(content, str):
        return read_option(content, codes, names)

    whole = read_option(answer, codes, names)
    if whole is not None:
        return whole
    # The last statement counts: models may repeat the form before they answer.
    last = last_statement(answer, codes, names)
    return last.option if last else _of_lines(answer, codes, names)


def parse_booleans(text: str, names: Sequence[str]) -> list[bool] | None:
    """Return whether each class is present; None unless JSON says so of every one.

    Args:
        text: The answer.
        names: Names of the classes.
    """
    answer = _spoken(text)
    content = None if answer is None else _json(_without_prefix(answer))
    if not isinstance(content, dict):
        return None
    given = {plain_text(str(key)): value for key, value in content.items()}
    values = [content.get(name, given.get(plain_text(name))) for name in names]
    present = [value for value in values if isinstance(value, bool)]
    return present if len(present) == len(names) else None


def _of_lines(answer: str, codes: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the option of the first line, the last line or a mention, if all say the same."""
    lines = [read_option(line, codes, names) for line in answer.splitlines() if line.strip()]
    mentioned = mentioned_options(answer, codes, names)
    found = {line for line in lines if line is not None} | mentioned
    is_answer = bool(mentioned) or any(line is not None for line in [*lines[:1], *lines[-1:]])
    return found.pop() if len(found) == 1 and is_answer else None


def _spoken(text: str) -> str | None:
    """Return an answer without the thoughts before it; None if it has no end of them."""
    if len(text) > _LONGEST:
        return None
    thoughts, end, answer = text.rpartition(_THINKING_ENDS)
    if not end and thoughts == "" and answer.lstrip().startswith("<think>"):
        return None
    return answer.strip()


def _json(answer: str) -> Any:
    """Return the value of an answer that is JSON, with or without a fence; else None."""
    fenced = _FENCE.match(answer)
    try:
        return json.loads(fenced.group(1) if fenced else answer)
    except (ValueError, RecursionError):
        return None


def _without_prefix(answer: str) -> str:
    """Return an answer without `Answer:` before its JSON."""
    return re.sub(r"\A[*_]*answer[*_]*\s*:[*_]*\s*", "", answer, flags=re.IGNORECASE)
