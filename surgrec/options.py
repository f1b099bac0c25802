"""The options of a program: their names and types, and the words of a command line that set them.

Words never name code: an option takes text, a number, a list, a mapping, or a YAML file.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from surgrec.config_values import config_in, in_full, is_optional, members
from surgrec.errors import ConfigError, cut, shown
from surgrec.ranges import type_hints
from surgrec.yaml_files import parse_yaml

Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""For each key, the fields that each of its values sets."""

_SIMILARITY = 0.65
"""Ratio of difflib from which a known name is suggested: `otu` suggests `out`."""


@dataclass(frozen=True, kw_only=True)
class Words:
    """A command line, taken apart."""

    given: list[tuple[str, str]] = field(default_factory=list)
    """Options and their texts, in the order of the command line."""
    positional: list[str] = field(default_factory=list)
    """Words that belong to no option."""
    asks_for: str | None = None
    """`help` or another option that ends the program, if it is given."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a program."""

    hints: Mapping[str, Any]
    """Type of each option."""
    defaults: Mapping[str, Any]
    """Default of each option; MISSING for a required one."""
    presets: Presets = field(default_factory=dict)
    """Options that set several others."""
    files: str | None = None
    """Option that names a file of options, `config`."""
    ending: tuple[str, ...] = ("help",)
    """Options that end the program."""
    positional: str = ""
    """Name of the argument without a flag, which may also be given as `--NAME`."""

    def split(self, words: Sequence[str]) -> Words:
        """Take a command line apart. A boolean option needs no value: `--json` means true.

        Raises:
            ConfigError: An option is unknown, or has no value.
        """
        parts = Words()
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                parts.positional.extend(rest)
                break
            asks_for = "help" if word == "-h" else _name_in(word)
            if asks_for in self.ending:
                if asks_for == "help":
                    return replace(parts, asks_for=asks_for)
                parts = replace(parts, asks_for=asks_for)
                continue
            if not word.startswith("--"):
                if word.startswith("-") and len(word) > 1:
                    raise ConfigError(f"{cut(word)} is not an option; options begin with '--'")
                parts.positional.append(word)
                continue

            self._take(word.removeprefix("--"), rest, parts)
        return parts

    def _take(self, option: str, rest: list[str], parts: Words) -> None:
        """Take an option, `NAME` or `NAME=TEXT`, and its value from the words behind it."""
        name, equals, text = option.partition("=")
        is_positional = bool(self.positional) and name.replace("-", "_") == self.positional
        name, hint = (self.positional, str) if is_positional else self.find(name)
        if not equals and bool in members(hint):
            is_value = bool(rest) and (
                rest[0].lower() in ("true", "false")
                or (_is_list(hint) and _is_in_brackets(rest[0]))
            )
            text = rest.pop(0) if is_value else "true"
        elif not equals:
            if not rest or rest[0].startswith("--"):
                raise ConfigError(f"--{cut(name)} needs a value")
            text = rest.pop(0)

        if is_positional:
            parts.positional.append(text)
        else:
            parts.given.append((name, text))

    def repeated_lists(self, words: Words) -> list[str]:
        """Return the options with a list that are given several times. The last list counts."""
        counts = Counter(name for name, _ in words.given)
        return [
            name for name, count in counts.items() if count > 1 and _is_list(self.hint_of(name))
        ]

    def hint_of(self, key: str) -> Any:
        """Return the type of an option, as `find` does."""
        return self.find(key)[1]

    def find(self, key: str) -> tuple[str, Any]:
        """Return the name and the type of an option, given its dotted name.

        A dash may stand for an underscore: `--run-dir` is `--run_dir`. The keys of a mapping stay
        as they are.

        Raises:
            ConfigError: There is no such option; the error names the nearest one.
        """
        for name in (key, key.replace("-", "_")):
            if name == self.files or name in self.presets:
                return name, str

        hints, names = self.hints, [*self.hints, *self.ending, *filter(None, [self.files])]
        parts = key.split(".")
        for number, part in enumerate(parts):
            if part not in hints and part.replace("-", "_") in hints:
                part = parts[number] = part.replace("-", "_")
            if part not in hints:
                raise self._unknown(key, parts[:number], part, list(hints) if number else names)
            hint = hints[part]
            if number + 1 == len(parts):
                return ".".join(parts), hint

            # Continue with the fields of a config. All values of a mapping have one type.
            config_type = config_in(hint)
            if config_type is not None:
                hints = type_hints(config_type)
            elif get_origin(hint) is dict:
                return ".".join(parts), get_args(hint)[1]
            else:
                hints = {}
        raise AssertionError(key)

    def _unknown(self, key: str, group: list[str], part: str, names: list[str]) -> ConfigError:
        key, part = cut(key), cut(part)
        # The last part may be right and the group missing: `--block` for `--mixture.block`.
        near = get_close_matches(part, names, n=1, cutoff=_SIMILARITY)
        deeper = [name for name in self.all_names() if name.rpartition(".")[2] == part]
        if near:
            return ConfigError(
                f"--{key} is not an option; did you mean '--{'.'.join([*group, near[0]])}'?"
            )
        if len(deeper) == 1:
            return ConfigError(f"--{key} is not an option; did you mean '--{deeper[0]}'?")
        return ConfigError(f"--{key} is not an option; look it up in --help")

    def all_names(self) -> list[str]:
        """Return the dotted names of all options."""
        names: list[str] = [*self.presets]
        for name, hint in self.hints.items():
            names += [name, *nested_names(hint, name)]
        return names

    def set(
        self, tree: dict[str, Any], key: str, text: str, read: Callable[[str, str], Any]
    ) -> None:
        """Set an option in a tree of plain values.

        Args:
            tree: Values of all options so far.
            key: Dotted name of the option.
            text: Its word.
            read: Returns the content of a YAML file, given its name and the option.

        Raises:
            ConfigError: The text is no value of the option's type.
        """
        if key in self.presets:
            group = key.rpartition(".")[0]
            for name, value in preset(self.presets, key, text).items():
                _assign(tree, f"{group}.{name}", value)
            return

        hint = self.hint_of(key)
        value = plain_of(text, hint, key, read)

        if config_in(hint) is not None and isinstance(value, Mapping):
            for name, item in value.items():
                _assign(tree, f"{key}.{name}", item)
            if not value:
                _assign(tree, key, {})
        else:
            _assign(tree, key, value)


def preset(presets: Presets, key: str, value: object) -> Mapping[str, Any]:
    """Return the fields that a value of a preset sets."""
    choices = presets[key]
    if not isinstance(value, str) or value not in choices:
        raise ConfigError(f"{key} is {shown(value)}; give one of {', '.join(choices)}")
    return choices[value]


def nested_names(hint: Any, key: str) -> list[str]:
    """Return the dotted names of the fields of a nested config; none for other types."""
    config_type = config_in(hint)
    if config_type is None:
        return []
    names = []
    for name, inner in type_hints(config_type).items():
        names += [f"{key}.{name}", *nested_names(inner, f"{key}.{name}")]
    return names


def plain_of(text: str, hint: Any, key: str, read: Callable[[str, str], Any]) -> Any:
    """Return the plain value of a word, as its type asks for it."""
    if is_optional(hint) and text == "null":
        return None
    kinds = {get_origin(member) or member for member in members(hint)}
    if config_in(hint) is not None:
        is_flow = text.lstrip().startswith("{")
        value = parse_yaml(text, f"--{key}") if is_flow else _number_or_text(text)
        return in_full(hint, value, key, read)
    if not {str, Path, Literal} & kinds:
        return parse_yaml(text, f"--{key}") if text.strip() else text
    return _list_of(text, key) if list in kinds and _is_in_brackets(text) else text


def _name_in(word: str) -> str:
    """Return the name in a word such as `--print-config`; empty: the word is no option."""
    return word[2:].replace("-", "_") if word.startswith("--") else ""


def _is_in_brackets(text: str) -> bool:
    """Return whether a word is a list. A word such as `[1].mp4` is text."""
    return text.strip().startswith("[") and text.strip().endswith("]")


def _list_of(text: str, key: str) -> Any:
    """Return the list that a word in brackets is."""
    try:
        return parse_yaml(text, f"--{key}")
    except ConfigError as error:
        raise ConfigError(
            f"{error}; a word in brackets is a list, so give one text in brackets as \"['[...]']\""
        ) from None


def _is_list(hint: Any) -> bool:
    return any((get_origin(member) or member) is list for member in members(hint))


def _number_or_text(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a value at a dotted name. Groups on the way are copied: files may share them."""
    *groups, name = key.split(".")
    for group in groups:
        before = tree.get(group)
        tree[group] = dict(before) if isinstance(before, Mapping) else {}
        tree = tree[group]
    tree[name] = value


def unset(options: Options, tree: Mapping[str, Any]) -> list[str]:
    """Return the required options that a tree of values lacks."""
    return [
        name
        for name, default in options.defaults.items()
        if default is MISSING and name not in tree
    ]


def refuse_unused(user: str, options: Mapping[str, object], remedy: str = "") -> None:
    """Refuse options that were given although nothing uses them.

    Args:
        user: The input or the option that has no use for them, as the subject of a sentence.
        options: Values by name. A value that is empty or false was not given.
        remedy: A further way than to leave them out, in words.

    Raises:
        ConfigError: Names the given options.
    """
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        them = "it" if len(given) == 1 else "them"
        raise ConfigError(
            f"{user} does not use {', '.join(given)}; leave {them} out{', or ' if remedy else ''}"
            f"{remedy}"
        )
