"""Read a text that names one option and nothing else."""

import re
from collections.abc import Sequence

_AROUND = " \t\r\n*_`\"'$"
_PREFIX = re.compile(r"\A(?:option|choice)\s+", re.IGNORECASE)
_SEPARATED = re.compile(r"\A[(\[]?(?P<code>[A-Za-z]|\d+)(?:[)\].:]\s*|\s+[-–:]\s+)(?P<name>.+)\Z")


def read_option(value: object, codes: Sequence[str], names: Sequence[str]) -> int | None:
    """Return the option that a value names as a whole; None if it names none.

    Args:
        value: A text such as `B`, `(B)`, `Option B`, `B) closure` or `closure`, or a number.
        codes: Code of each option, in capitals.
        names: Name of each option.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    answer = str(value).strip(_AROUND)
    found = named_option(answer, names)
    if found is not None and answer.upper() not in codes:
        return found

    # A code alone, in brackets, or with a period.
    answer = _PREFIX.sub("", answer).strip(_AROUND)
    alone = answer.strip("()[]{}.:; *").upper()
    if alone in codes:
        return codes.index(alone)

    # A code in front of the name of the same option.
    separated = _SEPARATED.match(answer)
    if separated is None or separated["code"].upper() not in codes:
        return None
    index = codes.index(separated["code"].upper())
    return index if named_option(separated["name"], names) == index else None


def named_option(answer: str, names: Sequence[str]) -> int | None:
    """Return the one option with this name."""
    exact = [index for index, name in enumerate(names) if name == answer]
    plain = [index for index, name in enumerate(names) if plain_text(name) == plain_text(answer)]
    matches = exact or plain
    return matches[0] if len(matches) == 1 else None


def plain_text(name: str) -> str:
    """Return a name without differences of case, of spaces and of marks around it."""
    return " ".join(name.replace("_", " ").strip(f"{_AROUND}.").casefold().split())
