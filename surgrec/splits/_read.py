"""Read split files: every key and value is checked."""

import difflib
import hashlib
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from surgrec.errors import ConfigError, shown
from surgrec.manifest import SPLITS
from surgrec.splits._patterns import check_ranges
from surgrec.splits._rules import Rule, Split, SplitKind
from surgrec.yaml_files import parse_yaml, read_yaml_bytes

_REQUIRED = ("name", "train", "test")
_KEYS = (*_REQUIRED, "val", "kind", "source", "definition")
_DEFINITION = re.compile(r"[0-9a-f]{64}")
_MOST_SOURCE = 1000
"""Longest text about the origin of a split."""


def is_split_file(path: str) -> bool:
    """Return whether a path has the suffix of a file with rules over cases."""
    return path.endswith((".yaml", ".yml"))


def read_split(path: Path) -> Split:
    """Read a split from a YAML file with the keys `name`, `train` and `test`.

    The keys `val`, `kind`, `source` and `definition` are optional.

    Raises:
        ConfigError: The file is missing or not YAML, or has an unknown key or a wrong value.

    Example:
        >>> read_split(Path("recipes/splits/phantom_phases.yaml")).rules["train"]["stored"]
        ['train']
    """
    data = read_yaml_bytes(path)
    content = parse_yaml(data, str(path))
    content = _checked_mapping(content, _KEYS, str(path))
    for key in _REQUIRED:
        if key not in content:
            raise ConfigError(f"{path} has no '{key}'; a split has name, train and test")
    if not isinstance(content["name"], str) or not content["name"]:
        raise ConfigError(
            f"{path}: name is {shown(content['name'])}; give a string, such as 'phases'"
        )

    rules = {
        part: _rule(content[part], f"{path}, {part}")
        for part in ("train", "val", "test")
        if part in content
    }
    return Split(
        name=content["name"],
        train=rules["train"],
        test=rules["test"],
        val=rules.get("val"),
        kind=_kind(content.get("kind"), path),
        source=_source(content.get("source", ""), path),
        definition=_definition(content.get("definition", ""), path),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def _rule(content: object, context: str) -> Rule:
    names = tuple(field.name for field in fields(Rule))
    rule = _checked_mapping(content, names, context)
    if not rule:
        raise ConfigError(f"{context} has no condition; give at least one of {', '.join(names)}")

    for name, value in rule.items():
        if not isinstance(value, list) or not value or not all(map(_is_text, value)):
            raise ConfigError(
                f"{context}: {name} is {shown(value)}; give a list of strings, with numbers in "
                "quotes"
            )
    lists = {name: rule.get(name, []) for name in names}

    for stored in lists["stored"]:
        if stored not in SPLITS:
            raise ConfigError(
                f"{context}: stored contains {shown(stored)}; give one or several of "
                f"{', '.join(SPLITS)}"
            )
    for name in ("sources", "cases"):
        check_ranges(lists[name], f"{context}, {name}")
    return Rule(**lists)


def _kind(value: object, path: Path) -> SplitKind | None:
    kinds: tuple[SplitKind, ...] = get_args(SplitKind)
    if value is None:
        return None
    for kind in kinds:
        if value == kind:
            return kind
    raise ConfigError(
        f"{path}: kind is {shown(value)}; give one of {', '.join(kinds)}, or leave it out"
    )


def _source(value: object, path: Path) -> str:
    if not isinstance(value, str) or len(value) > _MOST_SOURCE:
        raise ConfigError(
            f"{path}: source is {shown(value)}; give a text of at most {_MOST_SOURCE} characters, "
            "such as a publication"
        )
    return value


def _definition(value: object, path: Path) -> str:
    if not isinstance(value, str) or (value and not _DEFINITION.fullmatch(value)):
        raise ConfigError(
            f"{path}: definition is {shown(value)}; leave the key out, or give the SHA-256 that "
            "`surgrec-shard check-source --write_split` wrote"
        )
    return value


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _checked_mapping(content: object, known: Sequence[str], context: str) -> dict[str, Any]:
    """Return the content if it is a mapping with known keys only."""
    if not isinstance(content, dict):
        raise ConfigError(
            f"{context} is {shown(content)}; give a mapping with the keys {', '.join(known)}"
        )
    for key in content:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            remedy = f"did you mean '{near[0]}'?" if near else f"use {', '.join(known)}"
            raise ConfigError(f"{context}: unknown key '{key}'; {remedy}")
    return content
