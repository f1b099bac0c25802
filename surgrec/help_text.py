"""The text of `--help`: every option with its type in capitals, its meaning and its default."""

import argparse
import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from surgrec.config_values import as_plain, config_in, default_of, members
from surgrec.options import Options
from surgrec.ranges import type_hints

SHELLS = ("bash", "zsh", "tcsh")
_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH", list: "LIST", tuple: "LIST"}


class _Formatter(argparse.HelpFormatter):
    """Wraps each paragraph by itself, and keeps indented ones, such as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = re.split(r"\n\s*\n", text.strip("\n"))
        return "\n\n".join(
            paragraph if paragraph.startswith(" ") else fill(paragraph, width, indent)
            for paragraph in paragraphs
        )


def help_parser(
    prog: str,
    options: Options,
    *,
    texts: Mapping[str, str],
    description: str = "",
    epilog: str = "",
    positional: str | None = None,
    many: bool = False,
    is_optional: bool = False,
) -> argparse.ArgumentParser:
    """Return a parser that prints the help of a program. It parses nothing else.

    Args:
        prog: Name of the program.
        options: Its options.
        texts: Meaning of each of them, and of the positional argument.
        description: Text above the options.
        epilog: Text below them.
        positional: Name of the argument without a flag.
        many: Whether it may be given several times.
        is_optional: Whether it may be left out.
    """
    parser = _parser(prog, description, epilog)
    if positional is not None:
        text = _escaped(texts.get(positional, ""))
        least_one = "+" if many else None
        none_too = "*" if many else "?"
        nargs = none_too if is_optional else least_one
        parser.add_argument(positional, nargs=nargs, help=text)
    for name in options.ending:
        if name != "help":
            text = "Print the configuration that all other options give, and exit."
            parser.add_argument(f"--{name}", action="store_true", help=text)
    if options.files:
        text = "Name or path of a YAML file with any of these options; may be given several times."
        parser.add_argument(f"--{options.files}", metavar="FILE", help=text)

    # Options of the program itself, then one group per nested config.
    for name, hint in options.hints.items():
        if config_in(hint) is None:
            _add(parser, name, hint, options.defaults[name], texts.get(name, ""))
    for name, hint in options.hints.items():
        if config_in(hint) is not None:
            _add_group(parser, options, name, hint, options.defaults[name], texts.get(name, ""))
    return parser


def commands_text(
    prog: str, summaries: Mapping[str, str], *, description: str = "", epilog: str = ""
) -> str:
    """Return the help of a program with commands, given a line about each of them."""
    parser = _commands_parser(prog, description, epilog)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in summaries.items():
        commands.add_parser(name, help=_escaped(summary))
    return parser.format_help()


def completion_text(
    prog: str, commands: Mapping[str, argparse.ArgumentParser | None], shell: str
) -> str:
    """Return a script that completes the commands and options of a program in a shell.

    Args:
        prog: Name of the program.
        commands: The parser of each command, made by `help_parser`; None: no options are completed.
        shell: `bash`, `zsh` or `tcsh`.
    """
    import shtab

    parser = _commands_parser(prog, "", "")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, command in commands.items():
        parents = [] if command is None else [command]
        # shtab takes a command without a help for a hidden one.
        added = subparsers.add_parser(name, parents=parents, add_help=False, help=name)
        for action in added._actions:
            if action.metavar in ("PATH", "FILE") or not action.option_strings:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab reads it
    text: str = shtab.complete(parser, shell=shell)
    return text


@cache
def field_texts(config_type: type) -> dict[str, str]:
    """Return the docstring of each field of a dataclass."""
    texts: dict[str, str] = {}
    for base in reversed(config_type.__mro__):
        if is_dataclass(base):
            texts |= _own_texts(base)
    return texts


def argument_texts(docstring: str) -> dict[str, str]:
    """Return the text of each argument in the section `Args:` of a docstring."""
    section = inspect.cleandoc(docstring).partition("\nArgs:\n")[2]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^ {4}(\w+): ((?:.|\n {8})+)", section, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _own_texts(config_type: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(config_type))
    except (OSError, TypeError):  # a class that was not read from a file
        return {}
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    texts = {}
    for node, following in pairwise(body):
        is_text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and is_text:
            text = following.value.value  # type: ignore[attr-defined]  # narrowed by is_text
            texts[node.target.id] = " ".join(str(text).split())
    return texts


def _commands_parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Return a parser with the options of a program that has commands."""
    parser = _parser(prog, description, epilog)
    parser.add_argument("--version", action="version", help="Print the version and exit.")
    parser.add_argument(
        "--quiet", action="store_true", help="Print results, warnings and errors only."
    )
    parser.add_argument(
        "--log_file", metavar="PATH", help="File to which notes, warnings and errors are appended."
    )

    shells = ", ".join(SHELLS)
    parser.add_argument(
        "--print_completion",
        metavar="SHELL",
        choices=SHELLS,
        help=f"Print a script that completes words in {shells}, and exit.",
    )
    return parser


def _parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        formatter_class=_Formatter,
        description=_escaped(description) or None,
        epilog=_escaped(epilog) or None,
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("-h", "--help", action="store_true", help="Show this help and exit.")
    return parser


def _add(container: Any, key: str, hint: Any, default: Any, text: str) -> None:
    note = _default_note(default)
    container.add_argument(
        f"--{key}",
        nargs="?" if bool in members(hint) else None,
        metavar=_metavar(hint),
        default=default,
        help=_escaped(f"{text} {note}".strip()),
    )


def _add_group(
    parser: argparse.ArgumentParser,
    options: Options,
    key: str,
    hint: Any,
    default: Any,
    text: str,
) -> None:
    """Add a group with the fields of a nested config, and groups for the configs in it."""
    config_type = config_in(hint)
    assert config_type is not None
    group = parser.add_argument_group(key, _escaped(text) or None)
    file_text = f"YAML file with the fields of {key}, or a mapping of them."
    group.add_argument(f"--{key}", metavar="FILE", help=_escaped(file_text))
    preset_of: dict[str, str] = {}
    for name, choices in options.presets.items():
        if name.rpartition(".")[0] == key:
            sets = next(iter(choices.values()))
            preset_of |= dict.fromkeys(sets, name)
            metavar = "{" + ",".join(choices) + "}"
            group.add_argument(
                f"--{name}", metavar=metavar, help=f"Published size: sets {', '.join(sets)}."
            )

    hints, texts = type_hints(config_type), field_texts(config_type)
    nested = []
    for each in fields(config_type):
        value = getattr(default, each.name) if isinstance(default, config_type) else MISSING
        value = default_of(config_type, each.name) if value is MISSING else value
        text = texts.get(each.name, "")
        if value is MISSING and each.name in preset_of:
            # Not `(required)`: the preset gives it as well.
            value, text = None, f"{text} Required, unless --{preset_of[each.name]} sets it."
        arguments = (f"{key}.{each.name}", hints[each.name], value, text)
        if config_in(hints[each.name]) is None:
            _add(group, *arguments)
        else:
            nested.append(arguments)
    for arguments in nested:
        _add_group(parser, options, *arguments)


def _metavar(hint: Any) -> str:
    """Return the name of a type: INT, or the choices."""
    kinds = [member for member in members(hint) if member is not type(None)]
    choices = [
        str(value) for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)
    ]
    if choices:
        return "{" + ",".join(choices) + "}"
    if bool in kinds:
        return "{true,false}"
    if get_origin(kinds[0]) is dict:
        return "MAPPING"
    return _METAVARS.get(get_origin(kinds[0]) or kinds[0], "VALUE")


def _default_note(default: Any) -> str:
    if default is MISSING:
        return "(required)"
    if default is None or default is False or default in ("", [], {}, ()):
        return ""
    return f"(default: {_plain_default(default)})"


def _plain_default(default: Any) -> str:
    plain = as_plain(default)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def _escaped(text: str) -> str:
    """Return text for argparse, which formats percent signs."""
    return text.replace("%", "%%")
