"""The one place that knows jsonargparse: typed configs and typed subcommands. Parsing only."""

import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import jsonargparse

from surgrec.config_files import merge_configs, read_config
from surgrec.errors import ConfigError, SurgrecError

ConfigType = TypeVar("ConfigType")
Presets: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""For each key, the fields that each of its values sets."""

# What jsonargparse says, and what a user understands.
_PLAIN_WORDS = (
    (r"Problem with given class_path.*?:\s*", ""),
    (r"<class '(\w+)'>", r"\1"),
    (r"typing\.Literal\[(.*?)\]", r"one of \1"),
    (r"the following arguments are required: (?:[a-z]+\.)?(\w+)$", r"\1 is needed"),
    (
        r"""Parser key "([\w.]+)": Unable to load config '([^']*)' - Parser key "[^"]*": Unable to load config .*""",
        r"\1 is '\2', which is no file and not its fields",
    ),
    (r"""Parser key "[\w.]+": Unable to load config '([^']*)' - (.*)""", r"\1: \2"),
    (r"""Parser key "([\w.]+)": Expected a (.*?)\. Got value: (.*)""", r"\1 is \3, not of type \2"),
    (r"not of type one of", "not one of"),
)

jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand: a typed function, whose docstring is its help.

    `positional` names the parameter given without a flag; `many` lets it be given several times.
    The function returns its exit status, or None for 0.
    """

    function: Callable[..., int | None]
    positional: str | None = None
    many: bool = False


def parse(
    config_type: type[ConfigType],
    argv: Sequence[str] | None = None,
    *,
    prog: str | None = None,
    configs: Path | None = None,
    presets: Presets | None = None,
) -> ConfigType:
    """Parse a config from `--config` files and dotted flags. A wrong key or type ends the program with 2.

    Later files override earlier ones. Flags override all files, wherever they stand on the command line.

    Args:
        config_type: Dataclass of the config.
        argv: Words of the command line; None takes those of this process.
        prog: Name of the program in messages.
        configs: Folder of configs that `--config NAME` may name without a path.
        presets: Keys that set several fields at once: `{"encoder.size": {"large": {"width": 1024, ...}}}`.
    """
    parser = _Parser(prog=prog, exit_on_error=True, allow_abbrev=False)
    parser.add_argument(
        "--config", action="config", help="Name or path of a YAML file with any of these options."
    )
    parser.add_class_arguments(config_type, as_group=False)
    for key, values in (presets or {}).items():
        fields = ", ".join(next(iter(values.values())))
        parser.add_argument(
            f"--{key}", choices=list(values), default=None, help=f"Published size: sets {fields}."
        )

    # Files first, as one value, so that flags win over them.
    names, flags = _split_configs(list(sys.argv[1:] if argv is None else argv))
    if "" in names:
        parser.error("--config needs the name or the path of a file")
    try:
        values = merge_configs([read_config(name, configs) for name in names])
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


def write_yaml(config: object, path: Path) -> None:
    """Writes a config so that `--config PATH` reads the same one back."""
    parser = _Parser(exit_on_error=False)
    parser.add_class_arguments(type(config), as_group=False)
    namespace = parser.parse_object(as_plain(config))
    path.write_text(parser.dump(namespace), encoding="utf-8")


def as_plain(value: object) -> Any:
    """A config as JSON values: dicts, lists, strings and numbers."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: as_plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def from_plain(config_type: type[ConfigType], value: object, where: str) -> ConfigType:
    """A config from what `as_plain` gave.

    Raises:
        ConfigError: A field is unknown or has another type.
    """
    parser = _Parser(exit_on_error=False)
    parser.add_class_arguments(config_type, as_group=False)
    try:
        fields = parser.instantiate_classes(parser.parse_object(value))
    except (jsonargparse.ArgumentError, ValueError) as error:
        raise ConfigError(f"{where}: {_one_line(str(error), _known_names(parser))}") from None
    return config_type(**vars(fields))


def run(prog: str, commands: dict[str, Command], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the subcommand that argv names; a SurgrecError is one line on standard error and exit status 1."""
    parser = _Parser(prog=prog, allow_abbrev=False)
    subcommands = parser.add_subcommands(dest="command")
    for name, command in commands.items():
        child = _Parser(
            allow_abbrev=False, description=(command.function.__doc__ or "").split("\n\n")[0]
        )
        skip: set[str | int] = set()
        if command.positional is not None:
            child.add_argument(command.positional, nargs="+" if command.many else None, type=str)
            skip = {command.positional}
        child.add_function_arguments(command.function, as_group=False, skip=skip)
        subcommands.add_subcommand(
            name, child, help=(command.function.__doc__ or "").split("\n")[0]
        )
    parsed = parser.parse_args(list(argv) if argv is not None else None)
    name = parsed.command
    try:
        arguments = dict(vars(parser.instantiate_classes(parsed)[name]))
    except (SurgrecError, ValueError) as error:
        parser.error(str(error))
    to_go_on = "the same command continues where it stopped"
    run_main(prog, lambda: commands[name].function(**arguments), to_go_on=to_go_on)


def run_main(
    prog: str, main: Callable[[], int | None], *, to_go_on: str = "start it again"
) -> NoReturn:
    """Runs `main` and exits: its status, 1 and one line for a SurgrecError, 130 and how to go on for Ctrl-C."""
    try:
        status = main()
        sys.stdout.flush()
    except SurgrecError as error:
        print(f"{prog}: error: {error}", file=sys.stderr)  # noqa: T201 - the one place that speaks for a failed command
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted; {to_go_on}", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except (
        BrokenPipeError
    ):  # `| head` has read enough; what Python still wants to flush goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a folder without permission or a full disk that no caller explained
        cause = f"{error.filename or 'a file'}: {error.strerror}"
        print(f"{prog}: error: {cause}; mend it and run again", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    sys.exit(status or 0)


class _Parser(jsonargparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest name that exists."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if not self.exit_on_error:
            raise jsonargparse.ArgumentError(None, message) from ex
        text, prog = _one_line(message, _known_names(self)), self.prog.replace(" [options]", "")
        print(f"{prog}: error: {text} (see {prog} --help)", file=sys.stderr)  # noqa: T201
        sys.exit(2)


def _refuse_values_for_groups(parser: _Parser, parsed: jsonargparse.Namespace) -> None:
    """jsonargparse takes `encoder: 3` for a group of options and fails later, with a traceback."""
    for action in parser._actions:
        group, _, option = action.dest.rpartition(".")
        if group and option != "help" and not isinstance(parsed.get(group), jsonargparse.Namespace):
            parser.error(
                f"{group} is {parsed.get(group)!r}, but it has options of its own, such as {action.dest}"
            )


def _known_names(parser: jsonargparse.ArgumentParser) -> set[str]:
    names = {action.dest for action in parser._actions if action.dest}
    for action in parser._actions:
        if isinstance(action.choices, dict):  # subcommands, by name
            names = names.union(*(_known_names(child) for child in action.choices.values()))
    return names | {part for name in names for part in name.split(".")}


def _one_line(message: str, known: set[str]) -> str:
    """jsonargparse's message on one line, with a suggestion for a name it does not know."""
    text = " ".join(message.split())
    for pattern, plain in _PLAIN_WORDS:
        text = re.sub(pattern, plain, text)
    unknown = re.search(
        r"(?:does not accept option '|[Uu]nrecognized arguments: --|Option ')([\w.]+)", text
    )
    if unknown:
        strange = next(
            (part for part in unknown.group(1).split(".") if part not in known), unknown.group(1)
        )
        near = difflib.get_close_matches(strange, sorted(known), n=1)
        if near:
            text += f"; did you mean '{near[0]}'?"
    return text
