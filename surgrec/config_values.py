"""Configs as plain values, and back: dataclasses as mappings, lists, text and numbers.

Nothing is imported or executed, whatever the values are. `json_files.typed` is another converter,
of files in which every value is given: it has no defaults of nested configs and no short forms, and
converts a whole value at once. This one names the option and the nearest known name.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from surgrec.errors import ConfigError, SurgrecError, cut, shown
from surgrec.ranges import type_hints

ConfigType = TypeVar("ConfigType")

_LARGEST_EXACT = 1 << 53
"""Largest whole number up to which a float is exact."""
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
}


def as_plain(value: object) -> Any:
    """Return a config as JSON values: dicts, lists, strings and numbers."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(config_type: type[ConfigType], value: object, context: str) -> ConfigType:
    """Return the config that `as_plain` turned into JSON values.

    A field that is not given keeps its default, also a field of a nested config.

    Args:
        config_type: Type of the config, a dataclass.
        value: The JSON values.
        context: Start of an error message, such as the file of the values.

    Raises:
        ConfigError: A field is unknown or missing, has another type, or is out of its range.
    """
    try:
        return cast(ConfigType, to_type(config_type, value))
    except ConfigError as error:
        raise ConfigError(f"{context}: {error}") from None
    except SurgrecError as error:
        raise type(error)(f"{context}: {error}") from None


def to_type(hint: Any, value: Any, place: str = "", default: Any = MISSING) -> Any:
    """Return a plain value as a value of a type.

    Args:
        hint: A dataclass, or a type built from basic types, paths and dataclasses.
        value: The plain value.
        place: Dotted name of the value, for errors; empty for a whole config.
        default: Value whose fields a dataclass takes where the plain value has none.

    Raises:
        ConfigError: A field is unknown or missing, or has another type.
        SurgrecError: The config refuses its values.
    """
    config_type = config_in(hint)
    if config_type is not None and not (value is None and is_optional(hint)):
        return _config(config_type, value, place, default)

    # Lists and mappings of configs; all other types are left to msgspec.
    plain = without_range(hint)
    origin, arguments = get_origin(plain), get_args(plain)
    if origin in (list, tuple) and config_in(arguments[0]) and isinstance(value, list):
        items = [
            to_type(arguments[0], item, f"{place}[{number}]") for number, item in enumerate(value)
        ]
        return origin(items)
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        value = _as_written_for(plain, value)
    try:
        return msgspec.convert(value, plain, dec_hook=as_path)
    except msgspec.ValidationError:
        raise ConfigError(f"{place} is {shown(value)}; give {words_for(hint)}") from None


def config_in(hint: Any) -> type | None:
    """Return the dataclass that a type names, alone or with None; None for other types."""
    others = [each for each in members(hint) if each is not NoneType]
    only = others[0] if len(others) == 1 else None
    return only if isinstance(only, type) and is_dataclass(only) else None


def is_optional(hint: Any) -> bool:
    """Return whether a type includes None."""
    return NoneType in members(hint)


def without_range(hint: Any) -> Any:
    """Return a type without the annotation of its range."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def default_of(config_type: type, name: str) -> Any:
    """Return the default of a field; MISSING if it has none."""
    (found,) = (each for each in fields(config_type) if each.name == name)
    return found.default if found.default_factory is MISSING else found.default_factory()


def in_full(
    hint: Any,
    value: Any,
    place: str,
    read: Callable[[str, str], Any],
    also: Collection[str] = (),
) -> Any:
    """Return a plain value with every short form of a nested config written out.

    A number is a schedule of this constant value; text names a file, which `read` returns.

    Args:
        hint: Type of the value.
        value: The plain value.
        place: Dotted name of the value, for errors.
        read: Called with the text and the place.
        also: Dotted names that are accepted although no config has them.

    Raises:
        ConfigError: A name is unknown, or `read` finds no file.
    """
    config_type = config_in(hint)
    items = get_args(without_range(hint))
    if config_type is None:
        if isinstance(value, list) and items and config_in(items[0]):
            return [
                in_full(items[0], item, f"{place}[{number}]", read)
                for number, item in enumerate(value)
            ]
        return value

    if isinstance(value, str):
        value = read(value, place)
    if _is_constant(config_type, value):
        return as_plain(_constant(config_type, value, place))
    if not isinstance(value, Mapping):
        return value
    return fields_in_full(type_hints(config_type), value, place, read, also)


def fields_in_full(
    hints: Mapping[str, Any],
    value: Mapping[str, Any],
    place: str,
    read: Callable[[str, str], Any],
    also: Collection[str] = (),
) -> dict[str, Any]:
    """Return the fields of a config by `in_full`, given their types. Errors are those of it."""
    full = {}
    for key, item in value.items():
        name = _join(place, key)
        if key not in hints and name not in also:
            raise unknown_name(key, list(hints), name)
        full[key] = in_full(hints[key], item, name, read, also) if key in hints else item
    return full


def unknown_name(name: str, known: list[str], place: str) -> ConfigError:
    """Return the error about a name that is not known, with the nearest known one."""
    name, place = cut(name), cut(place)
    if name in ("class_path", "init_args"):
        return ConfigError(f"{place} is refused: a config names no classes; give the fields")
    near = get_close_matches(name, known, n=1, cutoff=0.65)
    remedy = f"did you mean '{near[0]}'?" if near else f"use {', '.join(known)}"
    return ConfigError(f"'{place}' is not accepted; {remedy}")


def words_for(hint: Any) -> str:
    """Return a type in words: `a whole number or null`."""
    parts = []
    for member in members(hint):
        origin, arguments = get_origin(member), get_args(member)

        if origin is Literal:
            parts.append("one of " + ", ".join(map(repr, arguments)))
        elif origin is tuple and Ellipsis not in arguments:
            parts.append(f"a list of {len(arguments)}: {', '.join(map(words_for, arguments))}")
        elif origin in (list, tuple):
            parts.append(f"a list, with {words_for(arguments[0])} as each item")
        elif origin is dict:
            parts.append(f"a mapping, with {words_for(arguments[1])} as each value")
        elif isinstance(member, type) and is_dataclass(member):
            parts.append(f"a mapping with {', '.join(each.name for each in fields(member))}")
        else:
            parts.append("null" if member is NoneType else _WORDS.get(member, str(member)))

    return " or ".join(parts)


def _config(config_type: type, value: Any, place: str, default: Any) -> Any:
    if _is_constant(config_type, value):
        return _constant(config_type, value, place)
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{place or 'the config'} is {shown(value)}; give {words_for(config_type)}"
        )
    hints = {each.name: type_hints(config_type)[each.name] for each in fields(config_type)}
    for key in value:
        if key not in hints:
            raise unknown_name(str(key), list(hints), _join(place, str(key)))

    # A field without a value: the one of the default, or the class's own default.
    given = {}
    for name, hint in hints.items():
        before = getattr(default, name) if isinstance(default, config_type) else MISSING
        before = default_of(config_type, name) if before is MISSING else before
        if name in value:
            given[name] = to_type(hint, value[name], _join(place, name), before)
        elif before is MISSING:
            raise ConfigError(f"{_join(place, name)} is missing; give {words_for(hint)}")
        else:
            given[name] = before
    try:
        return config_type(**given)
    except SurgrecError as error:
        is_named = not place or str(error).startswith(f"{place.partition('.')[0]}:")
        raise type(error)(str(error) if is_named else f"{place}: {error}") from None


def _is_constant(config_type: type, value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and getattr(config_type, "TAKES_NUMBER", False)


def _constant(config_type: type, value: float | int, place: str) -> Any:
    return _config(config_type, {"value": value}, place, MISSING)


def members(hint: Any) -> tuple[Any, ...]:
    """Return the members of a union; a tuple of the type itself for other types."""
    hint = without_range(hint)
    if get_origin(hint) in (Union, UnionType):
        return tuple(map(without_range, get_args(hint)))
    return (hint,)


def _as_written_for(hint: Any, value: float) -> float | int:
    """Return `1e3` as a whole number where the type has whole numbers only."""
    kinds = members(hint)
    return int(value) if int in kinds and float not in kinds else value


def as_path(kind: type, value: object) -> object:
    """Convert text to a path, which msgspec does not know."""
    if kind is Path and isinstance(value, str) and "\0" not in value:
        return Path(value)
    raise ValueError(f"{shown(value)} is not a path")


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
