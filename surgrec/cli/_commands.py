"""Typed commands: from the words of a command line to a call."""

import inspect
import re
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

from surgrec import __version__
from surgrec.cli._endings import print_and_exit, refuse, with_errors_as_one_line
from surgrec.cli._output import check_place, set_output
from surgrec.cli._words import read_group, require, warn_of_repeated
from surgrec.config_values import to_type
from surgrec.errors import ConfigError, SurgrecError, cut, shown
from surgrec.options import Options
from surgrec.ranges import check_value, type_hints
from surgrec.terminal import log


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
    """Parameter that is given without a flag; its name as a flag works, too."""
    many: bool = False
    """Whether the positional parameter may be given several times."""
    is_optional: bool = False
    """Whether the positional parameter may be left out; the function has a default for it."""
    takes_words: bool = False
    """Whether the function takes all words behind the command, and parses them itself."""

    def load(self) -> Callable[..., int | None]:
        """Return the function, importing it if it is given by name."""
        if not isinstance(self.function, str):
            return self.function
        module, _, name = self.function.partition(":")
        function: Callable[..., int | None] = getattr(import_module(module), name)
        return function


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
    given = [prog, *words]
    words = set_output(prog, words)
    name = words[0] if words else None
    if name in ("-h", "--help"):
        from surgrec.help_text import commands_text

        summaries = {
            name: command.summary or _first_line(command) for name, command in commands.items()
        }
        text = commands_text(prog, summaries, description=description, epilog=epilog)
        print_and_exit(text)
    if name == "--version":
        print_and_exit(f"{prog} {__version__}\n")
    if name in ("--print_completion", "--print-completion"):
        _print_completion(prog, commands, words[1:])
    if name is None:
        refuse(prog, f"a command is needed: {', '.join(commands)}")
    if name.replace("_", "-") in commands:
        name = name.replace("_", "-")
    if name not in commands:
        refuse(prog, _unknown_command(name, commands))

    command = commands[name]
    arguments: dict[str, Any] = {"words": words[1:]}
    check_place(prog, name, words[1:], [] if command.takes_words else _options_of(command).hints)
    if not command.takes_words:
        arguments = _arguments(f"{prog} {name}", command, words[1:])
    log(shlex.join(given))
    to_go_on = "the same command continues where it stopped"
    with_errors_as_one_line(prog, lambda: command.load()(**arguments), to_go_on=to_go_on)


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
    options, name = _options_of(command), command.positional
    try:
        words = options.split(argv)
        if words.asks_for == "help":
            print_and_exit(_command_parser(prog, options, command).format_help())
        warn_of_repeated(prog, options.repeated_lists(words))
        tree: dict[str, Any] = {}
        for key, text in words.given:
            options.set(tree, key, text, read_group)

        # The argument without a flag, then the options.
        arguments: dict[str, Any] = {}
        _check_positional(words.positional, command)
        require(options, tree)
        if name is not None and words.positional:
            arguments[name] = words.positional if command.many else words.positional[0]
        for each, value in tree.items():
            arguments[each] = to_type(options.hints[each], value, each, options.defaults[each])
            check_value(each, arguments[each], options.hints[each])
    except SurgrecError as error:
        refuse(prog, str(error))
    return arguments


def _options_of(command: Command) -> Options:
    """Return the options of a command: the parameters of its function, but the positional one."""
    function, required = command.load(), inspect.Parameter.empty
    hints = type_hints(function)
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name != command.positional
    }

    return Options(
        hints={name: hints[name] for name in parameters},
        defaults={
            name: MISSING if parameter.default is required else parameter.default
            for name, parameter in parameters.items()
        },
        positional=command.positional or "",
    )


def _check_positional(words: Sequence[str], command: Command) -> None:
    if command.positional is not None and not words and not command.is_optional:
        raise ConfigError(f"{command.positional} is required")
    most = 0 if command.positional is None else 1
    if len(words) > most and not command.many:
        raise ConfigError(f"{shown(words[most])} belongs to no option; remove it")


def _print_completion(prog: str, commands: Mapping[str, Command], words: Sequence[str]) -> NoReturn:
    """Print a script that completes the words of a program."""
    from surgrec.help_text import SHELLS, completion_text

    if len(words) != 1 or words[0] not in SHELLS:
        refuse(prog, f"--print_completion needs a shell: {', '.join(SHELLS)}")
    parsers = {
        name: None
        if command.takes_words
        else _command_parser(f"{prog} {name}", _options_of(command), command)
        for name, command in commands.items()
    }
    print_and_exit(completion_text(prog, parsers, words[0]) + "\n")


def _command_parser(prog: str, options: Options, command: Command) -> ArgumentParser:
    """Return a parser that prints the help of a command."""
    from surgrec.help_text import argument_texts, help_parser

    docs = inspect.cleandoc(command.load().__doc__ or "")
    description, _, rest = docs.partition("\nArgs:\n")
    example = re.search(r"^Examples?:\n(?:[ ]+.*\n?|\n)+", rest, re.MULTILINE)
    return help_parser(
        prog,
        options,
        texts=argument_texts(docs),
        description=description.strip(),
        epilog=example.group().replace(":\n", ":\n\n", 1) if example else "",
        positional=command.positional,
        many=command.many,
        is_optional=command.is_optional,
    )


def _first_line(command: Command) -> str:
    return (command.load().__doc__ or "").split("\n")[0]
