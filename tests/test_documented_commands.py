"""Every command line of `surgrec` and `surgrec-shard` in a document or a docstring is accepted."""

import functools
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from surgrec_shard.commands import _DESCRIPTION as SHARD_DESCRIPTION
from surgrec_shard.commands import COMMANDS as SHARD_COMMANDS

from surgrec.cli import Command, run
from surgrec.commands.main import _DESCRIPTION, COMMANDS
from surgrec.planning import PlanOptions
from tests.support.processes import ROOT

PROGRAMS = {"surgrec": COMMANDS, "surgrec-shard": SHARD_COMMANDS}
DESCRIPTIONS = {"surgrec": _DESCRIPTION, "surgrec-shard": SHARD_DESCRIPTION}
FOLDERS = ("", "docs", "recipes", "docker", "benchmarks", "tools/shard", "surgrec")


def documents() -> list[Path]:
    """The Markdown files that users read."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).glob("*.md")]
    return sorted({*found, *(ROOT / "surgrec").glob("*/*.md")} - {ROOT / "CHANGELOG.md"})


def commands_in(text: str) -> Iterator[str]:
    """Yield the command lines of the blocks of code in a document."""
    blocks = re.findall(r"^```(?:bash|console|sh)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for block in blocks:
        lines = re.sub(r" *\\\n\s*", " ", block).splitlines()
        yield from (line for line in lines if _program(line))


def help_of(command: Command) -> str:
    """Return the docstring that a command's help prints."""
    function: Callable[..., object] = PlanOptions if command.takes_words else command.load()
    return function.__doc__ or ""


def examples_in(text: str) -> Iterator[str]:
    """Yield the command lines of the section `Example:` of a docstring."""
    example = inspect.cleandoc(text).rpartition("\nExample:\n")[2]
    lines = re.sub(r" *\\\n\s*", " ", example).splitlines()
    yield from (line.strip() for line in lines if _program(line))


def _program(line: str) -> str:
    """Return the program that a line of a terminal starts; empty: another one or none."""
    found = re.match(r"\s*(?:\$ )?(?:\w+=\S+ )*(surgrec(?:-shard)?) (?!-)[a-z]", line)
    return found.group(1) if found else ""


def refusal(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return why the program does not accept a command line; empty: it does.

    Words in square brackets may be left out, `a|b` is a choice, and `...` stands for other options.
    """
    program = _program(line)
    words = shlex.split(line.partition(program)[2], comments=True)
    for end in ("|", ">", "&&", ";", "&", "2>"):
        words = words[: words.index(end)] if end in words else words
    if "'[" not in line and '"[' not in line:
        words = [word.strip("[]").partition("|")[0] for word in words]
    commands = {name: _idle(command) for name, command in PROGRAMS[program].items()}
    with pytest.raises(SystemExit) as stopped:
        run(program, commands, [word for word in words if word != "..."])
    errors = capsys.readouterr().err
    is_only_short = "..." in words and " required (see " in errors
    return "" if stopped.value.code == 0 or is_only_short else errors


def _idle(command: Command) -> Command:
    """Return a command that parses its words as before, and does nothing."""
    function = command.load()

    @functools.wraps(function)
    def idle(**_: object) -> None:
        pass

    return replace(command, function=idle)


LINES = [
    pytest.param(line, id=f"{path.relative_to(ROOT)}: {line.strip()[:60]}")
    for path in documents()
    for line in commands_in(path.read_text(encoding="utf-8"))
]
EXAMPLES = [
    pytest.param(line, id=line[:80])
    for commands in PROGRAMS.values()
    for command in commands.values()
    for line in examples_in(help_of(command))
]
HELPS = [
    pytest.param(line, id=f"--help: {line[:80]}")
    for text in DESCRIPTIONS.values()
    for line in examples_in(text)
]


@pytest.mark.parametrize("line", [*LINES, *EXAMPLES, *HELPS])
def test_a_documented_command_is_accepted(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixture.yaml").write_text("{}")
    assert refusal(line, capsys) == ""


def test_many_commands_are_documented() -> None:
    assert len(LINES) > 60


def test_every_command_and_program_has_an_example() -> None:
    named = {tuple(shlex.split(_line(param))[:2]) for param in EXAMPLES}
    assert named >= {(program, name) for program, names in PROGRAMS.items() for name in names}
    assert {_program(_line(param)) for param in HELPS} == set(PROGRAMS)


def _line(param: object) -> str:
    (line,) = param.values  # type: ignore[attr-defined]
    return str(line)
