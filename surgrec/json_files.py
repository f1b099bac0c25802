"""Read JSON that may be damaged or forged: within limits, and as values of declared types.

Every JSON file that SurgRec wrote is read back through this module.
"""

import bisect
import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import GenericAlias
from typing import Any, NoReturn, TypeVar, is_typeddict

import msgspec

from surgrec.config_values import as_path
from surgrec.errors import SurgrecError, reason
from surgrec.regular_files import open_regular_file, read_regular
from surgrec.terminal import escape, warn

T = TypeVar("T")

MAX_BYTES = 1 << 28
"""Largest JSON file, and largest line of a JSON-lines file."""
MAX_VALUES = 10_000_000
"""Most commas and brackets in a JSON text: they bound the memory of its values."""
MAX_DEPTH = 64
"""Deepest nesting of lists and objects."""
MIN_INT, MAX_INT = -(1 << 63), (1 << 64) - 1
"""Range of whole numbers: those that 64 bits hold, with or without a sign."""
_MAX_DIGITS = 400

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKET = re.compile(r"[^][{}]+")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_UNKNOWN = object()


class _InvalidError(ValueError):
    """A fault of a text, as the rest of a sentence that begins with the name of the file."""


def read_json(
    path: Path,
    kind: type[T] | GenericAlias,
    *,
    error: type[SurgrecError],
    remedy: str,
    file_names: bool = False,
    any_number: bool = False,
) -> T:
    """Read a JSON file as a value of a type. Arguments and errors are those of `decode_json`."""
    try:
        data = read_regular(path, MAX_BYTES)
    except OSError as problem:
        raise error(f"{path} cannot be read ({reason(problem)}); {remedy}") from None

    return decode_json(
        data,
        kind,
        str(path),
        error=error,
        remedy=remedy,
        file_names=file_names,
        any_number=any_number,
    )


def read_json_lines(
    path: Path,
    kind: type[T] | GenericAlias,
    *,
    error: type[SurgrecError],
    remedy: str,
    file_names: bool = False,
    any_number: bool = False,
) -> Iterator[T]:
    """Yield the rows of a JSON-lines file.

    A missing file has no rows. A last line without a line break that is not complete was cut short
    by a kill or a power failure: it is left out, and a line on standard error says so.

    Args:
        path: The file.
        kind: Type of a row, see `typed`.
        error: As for `decode_json`.
        remedy: As for `decode_json`.
        file_names: As for `decode_json`.
        any_number: As for `decode_json`.

    Raises:
        SurgrecError: Of class `error`. The file cannot be read, or a line is not a row.
    """
    try:
        file = open_regular_file(path)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise error(f"{path} cannot be read ({reason(problem)}); {remedy}") from None

    with file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_BYTES + 1), b""), start=1):
            context = f"{path}, line {number}"
            try:
                value = _parse(line, file_names=file_names, any_number=any_number)
            except _InvalidError as problem:
                if line.endswith(b"\n") or len(line) > MAX_BYTES:
                    raise error(f"{context} {problem}; {remedy}") from None
                warn(f"{escape(context)} is cut short and is left out")
                return
            yield typed(value, kind, context, error=error, remedy=remedy)


def decode_json(
    data: bytes | str,
    kind: type[T] | GenericAlias,
    context: str,
    *,
    error: type[SurgrecError],
    remedy: str,
    file_names: bool = False,
    any_number: bool = False,
) -> T:
    """Return a JSON text as a value of a type.

    Numbers are finite and whole numbers have at most 64 bits; the keys of an object are unique.

    Args:
        data: The text, in UTF-8.
        kind: Type of the value, see `typed`.
        context: Name of the file, for messages.
        error: Class of the error.
        remedy: The remedy, as the end of the error's sentence.
        file_names: Whether texts may hold file names that are not UTF-8, as Python escapes them
            (PEP 383).
        any_number: Whether numbers may be NaN, infinite, or of more than 64 bits, as Python writes
            them.

    Raises:
        SurgrecError: Of class `error`. The text is not JSON, or not of the type.

    Example:
        >>> decode_json(b'{"steps": 3}', dict[str, int], "a.json", error=ConfigError, remedy="...")
        {'steps': 3}
    """
    try:
        value = _parse(data, file_names=file_names, any_number=any_number)
    except _InvalidError as problem:
        raise error(f"{context} {problem}; {remedy}") from None
    return typed(value, kind, context, error=error, remedy=remedy)


def typed(
    value: object,
    kind: type[T] | GenericAlias,
    context: str,
    *,
    error: type[SurgrecError],
    remedy: str,
) -> T:
    """Return a value of plain JSON types as a value of a declared type. Nothing is imported.

    A dataclass refuses unknown keys. A TypedDict checks the keys that it declares, and the value is
    returned with all keys.

    Args:
        value: From a parser of JSON or YAML.
        kind: A dataclass, a TypedDict, or a type built from basic types.
        context: Name of the file, for messages.
        error: Class of the error.
        remedy: The remedy, as the end of the error's sentence.

    Raises:
        SurgrecError: Of class `error`. The value does not have the type.
    """
    try:
        result = msgspec.convert(value, kind, dec_hook=as_path)
    except msgspec.ValidationError as problem:
        raise error(f"{context}{_difference(value, kind, str(problem))}; {remedy}") from None
    except SurgrecError as problem:  # a dataclass checks its own values
        raise error(f"{context}: {problem}") from None
    if is_typeddict(kind):
        return value  # type: ignore[return-value]

    unknown = _unknown_key(value, msgspec.to_builtins(result, enc_hook=str))
    if unknown:
        raise error(f"{context} has the unknown field {unknown}; {remedy}")
    return result


def _parse(data: bytes | str, *, file_names: bool, any_number: bool) -> Any:
    """Return the plain value of a JSON text. Raise _InvalidError if there is none."""
    if len(data) > MAX_BYTES:
        raise _InvalidError(f"is larger than {MAX_BYTES:,} bytes")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _InvalidError(f"is not UTF-8 text (at byte {error.start})") from None

    # Check the structure first: values need memory in the parser, and levels need its stack.
    brackets = _NO_BRACKET.sub("", _STRING.sub("", text))
    if len(brackets) + text.count(",") > MAX_VALUES:
        raise _InvalidError(f"has more than {MAX_VALUES:,} values")
    if _depth(brackets) > MAX_DEPTH:
        raise _InvalidError(f"is nested more than {MAX_DEPTH} levels deep")

    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_object,
            parse_constant=float if any_number else _refuse_constant,
            parse_int=_large_number if any_number else _whole_number,
            parse_float=float if any_number else _number,
        )
    except json.JSONDecodeError as error:
        raise _InvalidError(_syntax_fault(text, error)) from None
    if not file_names and _HALF_CHARACTER.search(text):
        _check_characters(value)
    return value


def _depth(brackets: str) -> int:
    depth = deepest = 0
    for bracket in brackets:
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _syntax_fault(text: str, error: json.JSONDecodeError) -> str:
    if not text.strip():
        return "is empty"
    if "\0" in text:
        return "is not valid JSON (it has NUL bytes, as after a power failure)"
    line = f"line {error.lineno}, " if error.lineno > 1 else ""
    return f"is not valid JSON ({error.msg}: {line}column {error.colno})"


def _unique_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        ((repeated, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _InvalidError(f"has the key {repeated!r} twice in one object")
    return row


def _refuse_constant(text: str) -> NoReturn:
    raise _InvalidError(f"has {text} in place of a number")


def _whole_number(text: str) -> int:
    number = int(text) if len(text) <= 20 else MAX_INT + 1
    if not MIN_INT <= number <= MAX_INT:
        raise _InvalidError(f"has the number {text:.20}... of more than 64 bits")
    return number


def _large_number(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise _InvalidError(f"has a number of {len(text)} digits")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _InvalidError(f"has the number {text:.20}, which is too large")
    return number


def _check_characters(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise _InvalidError("has half of a surrogate pair in place of a character") from None


def _difference(value: object, kind: Any, message: str) -> str:
    """Return a message of msgspec as the rest of a sentence: `: a.b is a text, not a list`."""
    fault, _, place = message.partition(" - at `$")
    place = _named_place(value, kind, message, place.rstrip("`"))
    words = re.sub(r"`([^`]+)`", lambda match: _type_words(match.group(1)), fault)

    expected = re.fullmatch(r"Expected (.*), got (.*)", words)
    missing = re.fullmatch(r"Object missing required field (.*)", words)
    if expected:
        fault = f"is {expected.group(2)}, not {expected.group(1)}"
    elif missing:
        fault = f"lacks the field {missing.group(1)}"
    else:
        fault = f"has the fault: {words[:1].lower()}{words[1:]}"
    return f": {place} {fault}" if place else f" {fault}"


def _type_words(name: str) -> str:
    return " or ".join(_WORDS.get(part, part) for part in name.split(" | "))


def _named_place(value: Any, kind: Any, message: str, place: str) -> str:
    """Return the place of a fault, with the name of each key that msgspec shows as `[...]`."""
    path: list[Any] = []
    for field, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", place):
        if index == "...":
            path.append(_first_fault(value, kind, message, path))
        else:
            path.append(field or int(index))
    words = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(words).removeprefix(".")


def _first_fault(value: Any, kind: Any, message: str, path: list[Any]) -> str:
    """Return the key of the mapping at a path whose value is refused with this message."""
    mapping: Any = functools.reduce(lambda parent, part: parent[part], path, value)
    keys = list(mapping)

    def is_refused(count: int) -> bool:
        try:
            msgspec.convert(_keep_keys(value, path, keys[:count]), kind, dec_hook=as_path)
        except msgspec.ValidationError as error:
            return str(error) == message
        return False

    # msgspec converts in order, so the refusal needs the keys up to the one at fault.
    return str(keys[bisect.bisect_left(range(1, len(keys)), True, key=is_refused)])


def _keep_keys(value: Any, path: list[Any], keys: list[Any]) -> Any:
    """Return a copy of a value in which the mapping at a path has only these keys."""
    if not path:
        return {key: value[key] for key in keys}
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = _keep_keys(value[path[0]], path[1:], keys)
    return copy


def _unknown_key(value: Any, known: Any, place: str = "") -> str | None:
    """Return the place of the first key of a value that its converted form does not have."""
    if isinstance(value, Mapping) and isinstance(known, dict):
        items: Iterable[tuple[str, Any, Any]] = (
            (f"{place}.{key}", item, known.get(key, _UNKNOWN)) for key, item in value.items()
        )
    elif isinstance(value, list) and isinstance(known, list):
        items = (
            (f"{place}[{index}]", *pair)
            for index, pair in enumerate(zip(value, known, strict=True))
        )
    else:
        return None

    for name, item, counterpart in items:
        unknown = (
            name.removeprefix(".")
            if counterpart is _UNKNOWN
            else _unknown_key(item, counterpart, name)
        )
        if unknown:
            return unknown
    return None
