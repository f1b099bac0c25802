"""Regular expressions of users, matched by Python in a process with limits.

An expression may need years for a short text. A process that runs it can be ended.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from surgrec.errors import ManifestError, cut
from surgrec.text import counted

_MOST_CHARACTERS = 1000
_CPU_S = 2
_TEXTS_PER_S = 10_000
"""Texts that every further second of processor time is allowed for; it searches far more."""
_TEXTS_AT_ONCE = 200_000
_MEMORY_BYTES = 1 << 30
_WALL_S = 120.0

_PROGRAM = """
import json, re, resource, sys
cpu_s, memory_bytes, expression, is_named, texts = json.load(sys.stdin)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s))
resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
try:
    pattern = re.compile(expression)
except (re.error, OverflowError, RecursionError, ValueError) as error:
    print(json.dumps(str(error)))
    sys.exit()
print(json.dumps(list(pattern.groupindex) if is_named else pattern.groups), flush=True)
for text in texts:
    first = pattern.search(text)
    if is_named or first is None:
        answer = first and first.groupdict("")
    else:
        matches = (match.group(1) for match in pattern.finditer(text))
        answer = next((group for group in matches if group is not None), "")
    print(json.dumps(answer), flush=True)
"""


class UserPattern:
    r"""An expression of Python with one group.

    Args:
        text: The expression.
        name: Name of the option, for errors.

    Raises:
        ManifestError: It is no such expression.

    Example:
        >>> UserPattern(r"(case\d+)", "case_from").search(["2024/case07/left.mp4"])
        ['case07']
    """

    def __init__(self, text: str, name: str) -> None:
        self.text, self._name = text, name
        groups, _ = _search(text, name, (), is_named=False)
        if groups != 1:
            raise ManifestError(
                f"{name} {text!r} has {counted(groups, 'group')}; put parentheses around the case "
                "only"
            )

    def search(self, texts: Sequence[str]) -> list[str | None]:
        """Return the first match of the group in each text.

        It is empty if the expression matches without the group, and None if nothing matches.

        Raises:
            ManifestError: The search takes too long, or too much memory.
        """
        return _found(self.text, self._name, texts, is_named=False)


class NamedPattern:
    r"""An expression of Python with named groups.

    Args:
        text: The expression.
        name: Name of the option, for errors.

    Raises:
        ManifestError: It is no such expression.

    Example:
        >>> NamedPattern(r"(?P<case>case\d+)/", "pattern").search(["2024/case07/left.mp4"])
        [{'case': 'case07'}]
    """

    def __init__(self, text: str, name: str) -> None:
        self.text, self._name = text, name
        self.names: list[str] = _search(text, name, (), is_named=True)[0]
        if not self.names:
            raise ManifestError(f"{name} {text!r} has no named group; write (?P<name>...)")

    def search(self, texts: Sequence[str]) -> list[dict[str, str] | None]:
        """Return the named groups that match first in each text; None where nothing matches.

        Raises:
            ManifestError: The search takes too long, or too much memory.
        """
        return _found(self.text, self._name, texts, is_named=True)


def _found(expression: str, name: str, texts: Sequence[str], *, is_named: bool) -> list[Any]:
    """Return the matches of an expression in any number of texts: memory is limited."""
    found: list[Any] = []
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        some = texts[start : start + _TEXTS_AT_ONCE]
        found += _search(expression, name, some, is_named=is_named)[1]
    return found


def _search(
    expression: str, name: str, texts: Sequence[str], *, is_named: bool
) -> tuple[Any, list[Any]]:
    """Return the groups of an expression, and its match in each text."""
    if len(expression) > _MOST_CHARACTERS:
        raise ManifestError(
            f"{name} has {len(expression)} characters; give at most {_MOST_CHARACTERS}"
        )
    cpu_s = _CPU_S + len(texts) // _TEXTS_PER_S
    request = json.dumps([cpu_s, _MEMORY_BYTES, expression, is_named, list(texts)])
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _PROGRAM]
    try:
        answer = subprocess.run(
            command, input=request, capture_output=True, text=True, timeout=_WALL_S, check=False
        )
        lines = answer.stdout.splitlines()
        is_complete = answer.returncode == 0
    except subprocess.TimeoutExpired as error:
        lines, is_complete = (error.stdout or b"").decode().splitlines(), False

    answers: list[Any] = [json.loads(line) for line in lines]
    first, found = (answers[0], answers[1:]) if answers else (1, [])
    if isinstance(first, str):
        raise ManifestError(
            f"{name} {expression!r} is not a regular expression of Python ({first}); correct it"
        )
    if not is_complete:
        place = f" for {cut(texts[len(found)])}" if len(found) < len(texts) else ""
        raise ManifestError(
            f"{name} {expression!r} needs too much time or memory{place}; simplify it, "
            "such as (a+)+ to (a+)"
        )
    return first, found
