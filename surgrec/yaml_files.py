"""YAML: the one reader and the one writer of this project.

The reader takes plain values only: mappings with text as keys, lists, text, finite numbers, true,
false and null. Limits on size, depth and aliases keep a small file from filling the memory.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from surgrec.errors import ConfigError, cut, reason, shown
from surgrec.regular_files import read_regular

_MOST_BYTES = 4_000_000
_MOST_VALUES = 100_000
"""Values of a file after its aliases are replaced by their values."""
_DEEPEST = 50
"""Levels of nesting."""
_MOST_DIGITS = 40
"""Characters of a number."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_MERGE_KEY = "<<"
_TAGGED: dict[str, tuple[tuple[type, ...], str]] = {
    "!!int": ((int,), "a whole number"),
    "!!float": ((int, float), "a number"),
    "!!bool": ((bool,), "true or false"),
    "!!null": ((type(None),), "null"),
}
"""Tags that are honored besides that of text: types of the plain value, and their name."""

_NULL = re.compile(r"~|null|Null|NULL|")
_TRUE = re.compile(r"true|True|TRUE|yes|Yes|YES|on|On|ON")
_FALSE = re.compile(r"false|False|FALSE|no|No|NO|off|Off|OFF")
# As in Python, one "_" between digits is allowed. Other text with "_" is no number.
_DIGITS = r"[0-9](_?[0-9])*"
_INTEGER = re.compile(r"[-+]?(0|[1-9](_?[0-9])*|0x(_?[0-9a-fA-F])+|0o(_?[0-7])+|0b(_?[01])+)")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_FLOAT = re.compile(rf"[-+]?({_DIGITS}(\.({_DIGITS})?)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def read_yaml(path: Path) -> Any:
    """Return the content of a YAML file.

    Raises:
        ConfigError: The file cannot be read, or is not YAML of plain values within the limits.
    """
    return parse_yaml(read_yaml_bytes(path), str(path))


def read_yaml_bytes(path: Path) -> bytes:
    """Return the bytes of a YAML file, for `parse_yaml`.

    Raises:
        ConfigError: The file is missing, unreadable, too large, or not a regular file.
    """
    try:
        return read_regular(path, _MOST_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the name
        raise ConfigError(f"{path} cannot be read ({reason(error)}); name a YAML file") from None


def parse_yaml(data: bytes | str, context: str) -> Any:
    """Return the content of a YAML text.

    Numbers are those of YAML 1.2: `1e-6` is one, and so is `0o17`; a leading zero is refused. Dates
    and times are text. The keys of mappings are text as it is written. The tags of text, numbers,
    truth and null must agree with their values; other tags are refused.

    Args:
        data: The text, UTF-8.
        context: Start of an error message: the file or the option.

    Raises:
        ConfigError: The text is not YAML, has a key twice, several documents or other values, or is
            too large or too deep.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
        text.encode("utf-8")  # a word of a command line may have other bytes
    except UnicodeError as error:
        place = getattr(error, "start", 0)
        raise ConfigError(f"{context} is not UTF-8 text (byte {place}); save it as UTF-8") from None

    if len(text) > _MOST_BYTES:
        raise ConfigError(f"{context} is larger than {_MOST_BYTES:,} characters; shorten it")
    try:
        return _Builder(context).build(yaml.parse(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise ConfigError(f"{context} is not YAML ({_problem(error)}); correct it") from None


def to_yaml(value: object) -> str:
    """Return plain values as YAML that `parse_yaml` reads back."""
    return str(
        yaml.dump(
            value, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False
        )
    )


@dataclass(kw_only=True)
class _Collection:
    """A list or mapping whose end is not yet read."""

    is_mapping: bool
    line: int
    anchor: str | None
    size: int = 1
    """Number of values in it, with itself."""
    items: list[Any] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    """Key whose value comes next."""
    merges: bool = False
    """Whether this key is the merge key."""
    key_lines: dict[str, int] = field(default_factory=dict)
    merged: list[dict[str, Any]] = field(default_factory=list)
    """Mappings of the merge key; earlier ones win."""


class _Builder:
    """Builds values from the events of the parser, without recursion."""

    def __init__(self, context: str) -> None:
        self._context = context
        self._open: list[_Collection] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._result: Any = None
        self._documents = 0

    def build(self, events: Iterator[yaml.Event]) -> Any:
        """Return the only document of the events, or None if they hold none."""
        for event in events:
            line = event.start_mark.line + 1

            if isinstance(event, yaml.DocumentStartEvent):
                self._documents += 1
                if self._documents > 1:
                    self._refuse(line, "a second document begins", "give one document per file")
            elif isinstance(event, yaml.AliasEvent):
                self._alias(event.anchor, line)
            elif isinstance(event, yaml.ScalarEvent):
                self._scalar(event, line)
            elif isinstance(event, yaml.CollectionStartEvent):
                self._begin(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self._end()

        return self._result

    def _alias(self, anchor: str, line: int) -> None:
        if any(collection.anchor == anchor for collection in self._open):
            self._refuse(line, f"*{cut(anchor)} stands inside its own value", "write the value out")
        if anchor not in self._anchors:
            self._refuse(line, f"*{cut(anchor)} has no anchor above it", "define it first")
        value, size = self._anchors[anchor]
        if self._awaits_key():
            self._open[-1].merges = False
            if not isinstance(value, str):
                self._refuse(line, f"the key *{cut(anchor)} is not text", "write the key as text")
        self._add(value, size, line)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        tag = _short_tag(event.tag)
        if tag not in ("", "!", "!!str", *_TAGGED):
            self._refuse(line, f"the tag {cut(tag)} is not known", "remove it")
        if self._awaits_key():
            if tag in _TAGGED:
                self._refuse(line, f"a key has the tag {tag}, but keys are text", "remove it")
            value: Any = event.value
            self._open[-1].merges = value == _MERGE_KEY and event.implicit[0] and not tag
        elif tag in ("!", "!!str") or not (event.implicit[0] or event.tag):
            value = event.value
        else:
            value = self._plain(event.value, tag, line)

        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)
        self._add(value, 1, line)

    def _plain(self, text: str, tag: str, line: int) -> Any:
        """Return the value of text without quotes, or with the tag of a number, truth or null."""
        try:
            value: Any = plain_scalar(text)
        except _NumberError as error:
            self._refuse(line, error.finding, error.remedy)
        if not tag:
            return value

        kinds, words = _TAGGED[tag]
        if type(value) not in kinds:
            self._refuse(
                line, f"{tag} {shown(text)} is not {words}", "correct it, or remove the tag"
            )
        return float(value) if tag == "!!float" else value

    def _begin(self, event: yaml.CollectionStartEvent, line: int) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        tag = _short_tag(event.tag)
        if tag not in ("", "!", "!!map" if is_mapping else "!!seq"):
            self._refuse(line, f"the tag {cut(tag)} is not known here", "remove it")
        if self._awaits_key():
            self._refuse(line, "a key is a list or a mapping", "write the key as text")
        if len(self._open) == _DEEPEST:
            self._refuse(
                line, f"values are nested deeper than {_DEEPEST} levels", "make it flatter"
            )
        self._open.append(_Collection(is_mapping=is_mapping, line=line, anchor=event.anchor))

    def _end(self) -> None:
        ended = self._open.pop()
        value: Any = ended.items
        if ended.is_mapping:
            value = {}
            for merged in reversed(ended.merged):
                value.update(merged)
            value.update(ended.values)
        if ended.anchor is not None:
            self._anchors[ended.anchor] = (value, ended.size)
        self._add(value, ended.size, ended.line)

    def _awaits_key(self) -> bool:
        return bool(self._open) and self._open[-1].is_mapping and self._open[-1].key is None

    def _add(self, value: Any, size: int, line: int) -> None:
        """Put a value, or the key of the next one, into the innermost open collection."""
        if not self._open:
            self._result = value
            return
        parent = self._open[-1]
        parent.size += size
        if parent.size > _MOST_VALUES:
            self._refuse(line, f"it has more than {_MOST_VALUES:,} values", "shorten it")

        if not parent.is_mapping:
            parent.items.append(value)
        elif parent.key is None:
            if value in parent.key_lines:
                first = parent.key_lines[value]
                self._refuse(
                    line,
                    f"the key {shown(value)} stands twice, first in line {first}",
                    "remove one",
                )
            parent.key, parent.key_lines[value] = value, line
        elif parent.merges:
            self._merge(parent, value, line)
            parent.key = None
        else:
            parent.values[parent.key] = value
            parent.key = None

    def _merge(self, parent: _Collection, value: Any, line: int) -> None:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            self._refuse(
                line, "<< has a value that is not a mapping", "give mappings, such as *base"
            )
        parent.merged += parts

    def _refuse(self, line: int, finding: str, remedy: str) -> None:
        raise ConfigError(f"{self._context}, line {line}: {finding}; {remedy}")


def _short_tag(tag: str | None) -> str:
    """Return a tag as it is usually written, such as `!!int`; empty without one."""
    return f"!!{tag.removeprefix(_TAG)}" if tag and tag.startswith(_TAG) else tag or ""


class _NumberError(Exception):
    """A number that is refused."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(finding, remedy)
        self.finding, self.remedy = finding, remedy


def plain_scalar(text: str) -> str | int | float | bool | None:
    """Return the value of YAML text without quotes.

    Raises:
        _NumberError: The text is a number with a leading zero, not finite, or too long.
    """
    if _NULL.fullmatch(text):
        return None
    if _TRUE.fullmatch(text) or _FALSE.fullmatch(text):
        return _TRUE.fullmatch(text) is not None
    if _NOT_FINITE.fullmatch(text):
        raise _NumberError(
            f"{text} is not a finite number", "give a finite one, or quotes for text"
        )

    is_integer = _INTEGER.fullmatch(text) is not None
    if not is_integer and not _FLOAT.fullmatch(text):
        return text
    if len(text) > _MOST_DIGITS:
        raise _NumberError(
            f"a number has {len(text)} digits", "give a shorter one, or quotes for text"
        )
    if _LEADING_ZERO.fullmatch(text):
        sign = "-" if text.startswith("-") else ""
        number = sign + (text.lstrip("+-0_") or "0")
        raise _NumberError(f"{text} begins with a zero", f"write {number}, or '{text}' for text")

    if is_integer:
        return int(text, 0)
    value = float(text)
    if not math.isfinite(value):
        raise _NumberError(f"{text} is too large for a number", "give a smaller one")
    return value


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Dumper that quotes text which the reader would take for another value."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out."""
        return True

    def text(self, text: str) -> yaml.ScalarNode:
        """Represent text, with quotes if it needs them."""
        try:
            is_plain = isinstance(plain_scalar(text), str)
        except _NumberError:
            is_plain = False
        return self.represent_scalar(f"{_TAG}str", text, style=None if is_plain else "'")


_Dumper.add_representer(str, _Dumper.text)


def _problem(error: yaml.YAMLError) -> str:
    """Return the problem of a parser error with its line."""
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or reason(error)
    return f"line {mark.line + 1}: {text}" if mark is not None else text
