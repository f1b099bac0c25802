"""Typed configs and typed commands: from the words of a command line to a config or a call."""

import inspect
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from surgrec import __version__
from surgrec.config_files import merge_configs, read_config, read_layers
from surgrec.config_values import as_plain, default_of, fields_in_full, to_type
from surgrec.errors import ConfigError, SurgrecError, cut, is_lack_of_memory, shown
from surgrec.options import Options, Presets, preset, unset
from surgrec.ranges import check_value, type_hints
from surgrec.text import one_line
from surgrec.yaml_files import to_yaml

ConfigType = TypeVar("ConfigType")

_MOST_CHARACTERS = 1_400
"""Longest message: the names in it may have any length."""
_REASON_CHARACTERS = 200
_LESS_MEMORY = "use a smaller model or batch, or fewer processes, or give the job more memory"


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
    takes_words: bool = False
    """Whether the function takes all words behind the command, and parses them itself."""

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
    prog = prog or Path(sys.argv[0]).name
    options = Options(
        hints={each.name: type_hints(config_type)[each.name] for each in fields(config_type)},  # type: ignore[arg-type]
        defaults={each.name: default_of(config_type, each.name) for each in fields(config_type)},  # type: ignore[arg-type]
        presets=presets or {},
        files="config",
        ending=("help", "print_config"),
    )
    try:
        words = options.split(sys.argv[1:] if argv is None else argv)
        if words.asks_for == "help":
            _print_config_help(prog, options, config_type)
        if words.positional:
            raise ConfigError(f"{shown(words.positional[0])} belongs to no option; remove it")
        _warn_of_repeated(prog, options.repeated_lists(words))

        # Files first, so that flags win over them in any order.
        tree = _read_files([text for key, text in words.given if key == "config"], options, configs)
        for key, text in words.given:
            if key != "config":
                options.set(tree, key, text, _read_group)
        if words.asks_for == "print_config":
            _print_config(options, tree)
        _require(options, tree)
        config: ConfigType = to_type(config_type, tree)
    except SurgrecError as error:
        _refuse(prog, str(error))
    return config


def write_yaml(config: object, path: Path) -> None:
    """Write a config as YAML; `--config PATH` reads it back."""
    path.write_text(to_yaml(as_plain(config)), encoding="utf-8")


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
    words = list(sys.argv[1:] if argv is None else argv)
    name = words[0] if words else None
    if name in ("-h", "--help"):
        from surgrec.help_text import commands_text

        summaries = {
            name: command.summary or _first_line(command) for name, command in commands.items()
        }
        text = commands_text(prog, summaries, description=description, epilog=epilog)
        _print_and_exit(text)
    if name == "--version":
        _print_and_exit(f"{prog} {__version__}\n")
    if name is None:
        _refuse(prog, f"a command is needed: {', '.join(commands)}")
    if name not in commands:
        _refuse(prog, _unknown_command(name, commands))

    command = commands[name]
    arguments: dict[str, Any] = {"words": words[1:]}
    if not command.takes_words:
        arguments = _arguments(f"{prog} {name}", command, words[1:])
    to_go_on = "the same command continues where it stopped"
    with_errors_as_one_line(prog, lambda: command.load()(**arguments), to_go_on=to_go_on)


def with_errors_as_one_line(
    prog: str, main: Callable[[], int | None], *, to_go_on: str = "start it again"
) -> NoReturn:
    """Run `main` and exit with its status.

    A SurgrecError is one line on standard error and status 1, as is a lack of memory. Ctrl-C is one
    line and status 130.

    Args:
        prog: Name of the program in messages.
        main: The program; it returns its status, or None for 0.
        to_go_on: How to continue after Ctrl-C.
    """
    try:
        status = main()
        sys.stdout.flush()
    except SurgrecError as error:
        print_error(prog, str(error))
        sys.exit(1)
    except KeyboardInterrupt:
        _exit(prog, f"interrupted; {to_go_on}", 130)
    except BrokenPipeError:
        # `| head` has read enough: discard the output that Python still wants to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        found = next(iter(str(error).splitlines()), "") or type(error).__name__
        _exit(prog, f"error: memory ran out ({cut(found, _REASON_CHARACTERS)}); {_LESS_MEMORY}", 1)
    except OSError as error:
        # No permission, a full disk: an error that nothing closer to it turned into a sentence.
        path = error.filename or "a file"
        _exit(prog, f"error: {path}: {error.strerror}; fix this and run the command again", 1)
    sys.exit(status or 0)


def print_error(prog: str, message: str) -> None:
    """Print an error of a program as one line on standard error."""
    _print_line(prog, f"error: {message}")


def _print_line(prog: str, message: str) -> None:
    print(f"{prog}: {one_line(message, _MOST_CHARACTERS)}", file=sys.stderr, flush=True)  # noqa: T201


def _warn_of_repeated(prog: str, names: Sequence[str]) -> None:
    """Tell lists that are given twice: the first one is lost."""
    for name in names:
        _print_line(
            prog,
            f"warning: --{name} is given twice, and the last one counts; for several values give "
            f"one list, such as --{name} \"['A', 'B']\"",
        )


def _exit(prog: str, message: str, status: int) -> NoReturn:
    _print_line(prog, message)
    sys.exit(status)


def _refuse(prog: str, message: str) -> NoReturn:
    """Print one line about a wrong command line, and exit with 2."""
    _exit(prog, f"error: {' '.join(message.split())} (see {prog} --help)", 2)


def _print_and_exit(text: str) -> NoReturn:
    sys.stdout.write(text)
    sys.exit(0)


def _unknown_command(name: str, commands: Mapping[str, Command]) -> str:
    name = cut(name)
    if name.startswith("-"):
        return (
            f"{name} is not an option of the program; begin with a command: {', '.join(commands)}"
        )
    near = get_close_matches(name, list(commands), n=1, cutoff=0.65)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"'{name}' is not a command; choose from {', '.join(map(repr, commands))}{hint}"


def _arguments(prog: str, command: Command, argv: Sequence[str]) -> dict[str, Any]:
    """Return the arguments for a command's function that a command line gives."""
    function, name = command.load(), command.positional
    parameters = inspect.signature(function).parameters
    hints = type_hints(function)
    required = inspect.Parameter.empty
    options = Options(
        hints={each: hints[each] for each in parameters if each != name},
        defaults={
            each: MISSING if parameter.default is required else parameter.default
            for each, parameter in parameters.items()
            if each != name
        },
    )
    try:
        words = options.split(argv)
        if words.asks_for == "help":
            _print_command_help(prog, options, command)
        _warn_of_repeated(prog, options.repeated_lists(words))
        tree: dict[str, Any] = {}
        for key, text in words.given:
            options.set(tree, key, text, _read_group)

        # The argument without a flag, then the options.
        arguments: dict[str, Any] = {}
        _check_positional(words.positional, command)
        _require(options, tree)
        if name is not None:
            arguments[name] = words.positional if command.many else words.positional[0]
        for each, value in tree.items():
            arguments[each] = to_type(options.hints[each], value, each, options.defaults[each])
            check_value(each, arguments[each], options.hints[each])
    except SurgrecError as error:
        _refuse(prog, str(error))
    return arguments


def _check_positional(words: Sequence[str], command: Command) -> None:
    if command.positional is not None and not words:
        raise ConfigError(f"{command.positional} is required")
    most = 0 if command.positional is None else 1
    if len(words) > most and not command.many:
        raise ConfigError(f"{shown(words[most])} belongs to no option; remove it")


def _require(options: Options, tree: Mapping[str, Any]) -> None:
    """Refuse a tree of values without its required options."""
    names = [f"--{name}" for name in unset(options, tree)]
    if names:
        missing = ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0]
        raise ConfigError(f"{missing} {'are' if len(names) > 1 else 'is'} required")


def _read_files(names: Sequence[str], options: Options, folder: Path | None) -> dict[str, Any]:
    """Return the merged values of config files, with presets and short forms written out."""
    if "" in names:
        raise ConfigError("--config needs the name or the path of a file")
    layers = [
        fields_in_full(options.hints, layer, "", _read_group, options.presets)
        for name in names
        for layer in read_layers(name, folder)
    ]
    return _expand_presets(merge_configs(layers), options.presets)


def _expand_presets(values: dict[str, Any], presets: Presets) -> dict[str, Any]:
    """Replace preset keys by their fields. Explicit fields of a file win over its preset."""
    for key in presets:
        group, _, name = key.rpartition(".")
        given = values.get(group)
        if isinstance(given, Mapping) and name in given:
            others = {field: value for field, value in given.items() if field != name}
            values = {**values, group: {**preset(presets, key, given[name]), **others}}
    return values


def _read_group(name: str, place: str) -> dict[str, Any]:
    """Return the fields of a nested config that a file holds."""
    if not os.path.exists(name):  # Path.exists raises if a name is too long
        raise ConfigError(
            f"{place} is {shown(name)}, neither a YAML file nor a mapping; give one of both"
        )
    return read_config(name)


def _print_config(options: Options, tree: Mapping[str, Any]) -> NoReturn:
    """Print all values as YAML, without required ones that are not given."""
    values = {}
    for name, hint in options.hints.items():
        default = options.defaults[name]
        if name in tree:
            value = to_type(hint, tree[name], name, default)
            check_value(name, value, hint)
            values[name] = as_plain(value)
        elif default is not MISSING:
            values[name] = as_plain(default)
    _print_and_exit(to_yaml(values))


def _print_config_help(prog: str, options: Options, config_type: type) -> NoReturn:
    from surgrec.help_text import field_texts, help_text

    description = inspect.cleandoc(config_type.__doc__ or "")
    texts = field_texts(config_type)
    _print_and_exit(help_text(prog, options, texts=texts, description=description))


def _print_command_help(prog: str, options: Options, command: Command) -> NoReturn:
    from surgrec.help_text import argument_texts, help_text

    docs = inspect.cleandoc(command.load().__doc__ or "")
    description, _, rest = docs.partition("\nArgs:\n")
    example = re.search(r"^Examples?:\n(?:[ ]+.*\n?|\n)+", rest, re.MULTILINE)
    text = help_text(
        prog,
        options,
        texts=argument_texts(docs),
        description=description.strip(),
        epilog=example.group().replace(":\n", ":\n\n", 1) if example else "",
        positional=command.positional,
        many=command.many,
    )
    _print_and_exit(text)


def _first_line(command: Command) -> str:
    return (command.load().__doc__ or "").split("\n")[0]
