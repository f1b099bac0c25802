"""Typed configs and typed subcommands: the one place that uses jsonargparse. Parsing only."""

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import jsonargparse

from surgrec import __version__
from surgrec._parser import Parser, known_names, one_line
from surgrec.config_files import merge_configs, read_config
from surgrec.errors import ConfigError, SurgrecError

ConfigType = TypeVar("ConfigType")
Presets: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""For each key, the fields that each of its values sets."""

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand: a typed function whose docstring is its help.

    The function returns its exit status, or None for 0.
    """

    function: Callable[..., int | None] | str
    """The function, or `module:name`, imported only if the command line names the command."""
    summary: str = ""
    """Line in the list of commands. Default: the first line of the function's docstring."""
    positional: str | None = None
    """Parameter that is given without a flag."""
    many: bool = False
    """Whether the positional parameter may be given several times."""

    def load(self) -> Callable[..., int | None]:
        """Return the function, importing it if it is given by name."""
        if not isinstance(self.function, str):
            return self.function
        module, _, name = self.function.partition(":")
        function: Callable[..., int | None] = getattr(import_module(module), name)
        return function


def parse(
    config_type: type[ConfigType],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    configs: Path | None = None,
    presets: Presets | None = None,
) -> ConfigType:
    """Parse a config from `--config` files and dotted flags.

    Later files override earlier ones. Flags override all files, in any order on the command line.
    A wrong key, type or value ends the program with status 2 and one line on standard error.

    Args:
        config_type: Dataclass of the config.
        argv: Words after the program's name. Default: those of this process.
        prog: Name of the program in messages.
        configs: Folder of configs that `--config NAME` may name without a path.
        presets: Keys that set several fields at once, such as
            `{"encoder.size": {"large": {"width": 1024, ...}}}`.

    Example:
        >>> parse(LoaderConfig, ["--num_workers", "4"]).num_workers
        4
    """
    parser = Parser(prog=prog, exit_on_error=True, allow_abbrev=False)
    parser.add_argument(
        "--config", action="config", help="Name or path of a YAML file with any of these options."
    )
    parser.add_class_arguments(config_type, as_group=False)
    for key, choices in (presets or {}).items():
        names = ", ".join(next(iter(choices.values())))
        text = f"Published size: sets {names}."
        parser.add_argument(f"--{key}", choices=list(choices), default=None, help=text)

    # Files first, as one value, so that flags win over them.
    files, flags = _split_configs(list(sys.argv[1:] if argv is None else argv))
    if "" in files:
        parser.error("--config needs the name or the path of a file")
    try:
        values = merge_configs([read_config(name, configs) for name in files])
        values, flags = _expand_presets(values, flags, presets or {})
    except ConfigError as error:
        parser.error(str(error))
    first = ["--config", json.dumps(values)] if values else []
    parsed = parser.parse_args([*first, *flags])
    for key in presets or {}:
        parsed.pop(key, None)
    _refuse_values_for_groups(parser, parsed)

    try:
        config = parser.instantiate_classes(parsed)
    except (SurgrecError, ValueError) as error:
        parser.error(str(error))
    fields = {name: value for name, value in vars(config).items() if name != "config"}
    try:
        return config_type(**fields)
    except (SurgrecError, ValueError) as error:
        parser.error(str(error))


def write_yaml(config: object, path: Path) -> None:
    """Write a config as YAML; `--config PATH` reads it back."""
    parser = Parser(exit_on_error=False)
    parser.add_class_arguments(type(config), as_group=False)
    namespace = parser.parse_object(as_plain(config))
    path.write_text(parser.dump(namespace), encoding="utf-8")


def as_plain(value: object) -> Any:
    """Return a config as JSON values: dicts, lists, strings and numbers."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: as_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(config_type: type[ConfigType], value: object, context: str) -> ConfigType:
    """Return the config that `as_plain` turned into JSON values.

    Args:
        config_type: Type of the config.
        value: The JSON values.
        context: Start of an error message, such as the file of the values.

    Raises:
        ConfigError: A field is unknown or has another type.
    """
    parser = Parser(exit_on_error=False)
    parser.add_class_arguments(config_type, as_group=False)
    try:
        fields = parser.instantiate_classes(parser.parse_object(value))
    except (jsonargparse.ArgumentError, ValueError) as error:
        raise ConfigError(f"{context}: {one_line(str(error), known_names(parser))}") from None
    return config_type(**vars(fields))


def run(
    prog: str,
    commands: dict[str, Command],
    argv: Sequence[str] | None = None,
    *,
    description: str = "",
    epilog: str = "",
) -> NoReturn:
    """Run the subcommand that a command line names, and exit with its status.

    Args:
        prog: Name of the program in messages.
        commands: The subcommands by name.
        argv: Words after the program's name. Default: those of this process.
        description: Text above the commands in `--help`.
        epilog: Text below them.
    """
    parser = Parser(
        prog=prog,
        allow_abbrev=False,
        version=__version__,
        description=description or None,
        epilog=epilog or None,
    )
    words = list(sys.argv[1:] if argv is None else argv)
    subcommands = parser.add_subcommands(dest="command")
    children = {}
    for name, command in commands.items():
        # Only the named command needs its options; a list of commands appears at once.
        is_named = name in words[:1] or not command.summary
        child = children[name] = _command_parser(command) if is_named else Parser()
        summary = command.summary or (command.load().__doc__ or "").split("\n")[0]
        subcommands.add_subcommand(name, child, help=summary)
        child.prog = f"{prog} {name}"

    parsed = parser.parse_args(words)
    name = parsed.command
    try:
        arguments = dict(vars(parser.instantiate_classes(parsed)[name]))
    except (SurgrecError, ValueError) as error:
        children[name].error(str(error))
    to_go_on = "the same command continues where it stopped"
    run_main(prog, lambda: commands[name].load()(**arguments), to_go_on=to_go_on)


def run_main(
    prog: str, main: Callable[[], int | None], *, to_go_on: str = "start it again"
) -> NoReturn:
    """Run `main` and exit with its status.

    A SurgrecError is one line on standard error and status 1. Ctrl-C is one line and status 130.

    Args:
        prog: Name of the program in messages.
        main: The program; it returns its status, or None for 0.
        to_go_on: How to continue after Ctrl-C.
    """
    try:
        status = main()
        sys.stdout.flush()
    except SurgrecError as error:
        _exit(prog, f"error: {error}", 1)
    except KeyboardInterrupt:
        _exit(prog, f"interrupted; {to_go_on}", 130)
    except BrokenPipeError:
        # `| head` has read enough: discard the output that Python still wants to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # No permission, a full disk: an error that nothing closer to it turned into a sentence.
        path = error.filename or "a file"
        _exit(prog, f"error: {path}: {error.strerror}; fix this and run the command again", 1)
    sys.exit(status or 0)


def _exit(prog: str, message: str, status: int) -> NoReturn:
    print(f"{prog}: {message}", file=sys.stderr)  # noqa: T201
    sys.exit(status)


def _command_parser(command: Command) -> Parser:
    """Return the parser of a subcommand. Its help is the docstring of the function."""
    function = command.load()
    docs = inspect.cleandoc(function.__doc__ or "")
    description, _, rest = docs.partition("\nArgs:\n")
    example = re.search(r"^Examples?:\n(?:[ ]+.*\n?|\n)+", rest, re.MULTILINE)
    parser = Parser(
        allow_abbrev=False,
        description=description.strip(),
        epilog=example.group().replace(":\n", ":\n\n", 1) if example else None,
    )

    name = command.positional
    if name is not None:
        documented = re.search(rf"^ +{name}: (.+(?:\n {{8,}}.+)*)", rest, re.MULTILINE)
        text = documented.group(1) if documented else None
        parser.add_argument(name, nargs="+" if command.many else None, type=str, help=text)
    skip: set[str | int] = {name} if name is not None else set()
    parser.add_function_arguments(function, as_group=False, skip=skip)
    return parser


def _split_configs(argv: list[str]) -> tuple[list[str], list[str]]:
    """Split a command line into the values of `--config` and all other words."""
    names, flags = [], []
    words = iter(argv)
    for word in words:
        if word == "--config":
            names.append(next(words, ""))
        elif word.startswith("--config="):
            names.append(word.removeprefix("--config="))
        else:
            flags.append(word)
    return names, flags


def _expand_presets(
    values: dict[str, Any], flags: list[str], presets: Presets
) -> tuple[dict[str, Any], list[str]]:
    """Replace preset keys by their fields. Explicit fields of a file win over its preset."""
    for key, choices in presets.items():
        group, _, name = key.rpartition(".")
        fields = values.get(group)
        if isinstance(fields, dict) and name in fields:
            size = fields.pop(name)
            if size not in choices:
                raise ConfigError(f"{key} is {size!r}, not one of {', '.join(choices)}")
            values = {**values, group: {**choices[size], **fields}}

        # A flag becomes the flags of its fields, in its place.
        expanded = []
        words = iter(flags)
        for word in words:
            flag, _, size = word.partition("=")
            if flag != f"--{key}":
                expanded.append(word)
                continue
            size = size or next(words, "")
            if size not in choices:
                raise ConfigError(f"{key} is {size!r}, not one of {', '.join(choices)}")
            expanded += [f"--{group}.{field}={value}" for field, value in choices[size].items()]
        flags = expanded
    return values, flags


def _refuse_values_for_groups(parser: Parser, parsed: jsonargparse.Namespace) -> None:
    """Refuse `encoder: 3` for a group of options: jsonargparse accepts it, and then crashes."""
    for action in parser._actions:
        group, _, option = action.dest.rpartition(".")
        value = parsed.get(group) if group and option != "help" else None
        if group and option != "help" and not isinstance(value, jsonargparse.Namespace):
            parser.error(
                f"{group}: {value!r} is neither a YAML file nor a mapping of its fields, "
                f"such as {action.dest}"
            )
