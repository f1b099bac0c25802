"""A jsonargparse parser with plain help texts and errors of one line."""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NoReturn, Union, get_args, get_origin

import jsonargparse

_REWORDED = (
    (r"Problem with given class_path.*?:\s*", ""),
    (r"<class '(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*?)\]", r"one of \1"),
    (
        r"""Parser key "([\w.]+)": Unable to load config '([^']*)' - """
        r"""Parser key "[^"]*": Unable to load config .*""",
        r"\1: '\2' is neither a YAML file nor a mapping of its fields",
    ),
    (r"""Parser key "[\w.]+": Unable to load config '([^']*)' - (.*)""", r"\1: \2"),
    (
        r"""Parser key "([\w.]+)": Expected an? (.*?)\. Got value: (.*)""",
        r"\1: expected \2, got \3",
    ),
    (r"Group '([\w.]+)' does not accept option '([\w.]+)'", r"Option '\1.\2' is not accepted"),
    (r"argument (--[\w.]+): expected one argument", r"\1 needs a value"),
    (
        r"argument command: invalid choice: '(.*?)' \(choose from (.*)\)",
        r"'\1' is not a command; choose from \2",
    ),
)
"""Patterns of jsonargparse's messages, and their replacements, in this order."""

_REWORDED_HELP = (
    (r"Path to a configuration file", "YAML file with the options of this group"),
    (r"Show the help for \w+ and exit", "Show the fields and exit"),
    (
        r"Print the configuration after applying all other arguments and exit.*",
        "Print the configuration that all other options give, and exit.",
    ),
    (r"\(required, default: ", "(default: "),
    (r" \(type: \w+Config \| null\)", ""),
    (r" \(default: \)", ""),
)
"""Patterns of jsonargparse's help, and their replacements."""

_TYPE_NAMES = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
_SIMILARITY = 0.65
"""Ratio of difflib from which a known name is suggested: `otu` suggests `out`."""


class HelpFormatter(jsonargparse.DefaultHelpFormatter):
    """Help with plain type names, separate paragraphs, and no `default: null`."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Wrap each paragraph by itself; keep indented paragraphs, such as examples."""
        fill = super()._fill_text
        paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
        return "\n\n".join(
            paragraph if paragraph.startswith(" ") else fill(paragraph, width, indent)
            for paragraph in paragraphs
        )

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return _type_name(action) or str(super()._get_default_metavar_for_optional(action))

    def _format_args(self, action: argparse.Action, default_metavar: Any) -> str:
        text = str(super()._format_args(action, default_metavar))
        return f"[{text}]" if _is_flag(action) else text

    def _expand_help(self, action: argparse.Action) -> str:
        text = str(super()._expand_help(action))

        notes = ["default: null", "default: False"]
        if _type_name(action) or action.metavar is not None or not action.option_strings:
            notes.append(f"type: {self._get_type_str(action)}")
        if not action.option_strings:
            notes.append("required")
        for note in notes:
            text = text.replace(f", {note}", "").replace(f"{note}, ", "").replace(f" ({note})", "")
        for pattern, replacement in _REWORDED_HELP:
            text = re.sub(pattern, replacement, text)
        return text.replace(str(action.default), _plain_default(action.default))


class Parser(jsonargparse.ArgumentParser):
    """A parser that reports an error in one line and suggests the nearest known name.

    A boolean option may stand alone: `--json` means `--json true`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, formatter_class=HelpFormatter, **kwargs)

    def parse_args(  # type: ignore[override]  # jsonargparse has further parameters, all by keyword
        self, args: Sequence[str] | None = None, namespace: Any = None, **kwargs: Any
    ) -> jsonargparse.Namespace:
        """Parse words, or those of this process; a bare boolean option is true."""
        words = sys.argv[1:] if args is None else args
        return super().parse_args(list(self._with_flag_values(words)), namespace, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print one line and exit with 2, or raise ArgumentError if `exit_on_error` is false."""
        if not self.exit_on_error:
            raise jsonargparse.ArgumentError(None, message) from ex
        required = re.match(r"the following arguments are required: (.*)", message)
        if required:
            self._refuse_missing(required.group(1).split(", "))
        unknown = re.match(r"Subcommand '(\w+)' does not accept option '(.*)'", message)
        if unknown:
            _subparsers(self)[unknown.group(1)]._exit(
                f"Option '{unknown.group(2)}' is not accepted"
            )
        if message.startswith('expected "command"'):
            message = f"a command is needed: {', '.join(_subparsers(self))}"
        self._exit(message)

    def _refuse_missing(self, keys: Sequence[str]) -> NoReturn:
        """Name the missing options of this parser, or of the subcommand that the keys belong to."""
        parser: Parser = self
        command, _, rest = keys[0].partition(".")
        if rest and command in _subparsers(self):
            parser, keys = _subparsers(self)[command], [key.partition(".")[2] for key in keys]

        options = {action.dest: action.option_strings for action in parser._actions}
        names = [options[key][0] if options.get(key) else key for key in keys]
        missing = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
        parser._exit(f"{missing} {'are' if len(names) > 1 else 'is'} required")

    def _exit(self, message: str) -> NoReturn:
        text = one_line(message, known_names(self))
        print(f"{self.prog}: error: {text} (see {self.prog} --help)", file=sys.stderr)  # noqa: T201
        sys.exit(2)

    def _with_flag_values(self, words: Sequence[str]) -> Iterator[str]:
        """Append `=true` to a boolean option that no value follows."""
        actions = [action for action in self._actions if _is_flag(action)]
        flags = {name for action in actions for name in action.option_strings}
        for word, following in pairwise([*words, ""]):
            bare = word in flags and following.lower() not in ("true", "false")
            yield f"{word}=true" if bare else word


def known_names(parser: argparse.ArgumentParser) -> set[str]:
    """Return the names that a message may suggest: options, their parts, and commands."""
    names = {action.dest for action in parser._actions if action.dest} | set(_subparsers(parser))
    parts = {part for name in names for part in name.split(".")}
    flags = {name.lstrip("-") for action in parser._actions for name in action.option_strings}
    return names | parts | flags


def one_line(message: str, known: set[str]) -> str:
    """Return a message of jsonargparse in one plain line.

    Args:
        message: The message, of one or several lines.
        known: Names, of which the nearest is suggested for an unknown one.
    """
    text = " ".join(message.split())
    for pattern, replacement in _REWORDED:
        text = re.sub(pattern, replacement, text)

    unknown = re.search(r"(?:[Uu]nrecognized arguments: --|Option '|^')([\w.-]+)", text)
    if not unknown:
        return text
    parts = unknown.group(1).split(".")
    unknown_part = next((part for part in parts if part not in known), unknown.group(1))
    near = difflib.get_close_matches(unknown_part, sorted(known), n=1, cutoff=_SIMILARITY)
    return f"{text}; did you mean '{near[0]}'?" if near else text


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the parsers of the subcommands by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _is_flag(action: argparse.Action) -> bool:
    return getattr(action, "_typehint", None) is bool


def _plain_default(default: object) -> str:
    """Return a default as a user writes it: dataclasses as mappings of their fields."""
    if isinstance(default, (list, tuple)) and default and all(map(is_dataclass, default)):
        return str([asdict(item) for item in default])
    return str(default)


def _type_name(action: argparse.Action) -> str | None:
    """Return the name of a simple type, or its choices; None for other types."""
    typehint = getattr(action, "_typehint", None)
    if get_origin(typehint) in (Union, UnionType):
        others = [each for each in get_args(typehint) if each is not NoneType]
        choices = [choice for each in others for choice in get_args(each)]
        if all(get_origin(each) is Literal for each in others):
            return "{" + ",".join(str(choice) for choice in choices) + "}"
        typehint = others[0] if len(others) == 1 else None
    if get_origin(typehint) is Literal:
        return "{" + ",".join(str(choice) for choice in get_args(typehint)) + "}"
    return _TYPE_NAMES.get(typehint) if isinstance(typehint, type) else None
