"""Run a user's command on a hostile input and judge its outcome.

Two outcomes pass: the right result, or a refusal in one sentence. All others fail: a traceback, a
crash, a hang, a swollen process, or success without a check of the result.
"""

import contextlib
import hashlib
import os
import resource
import runpy
import signal
import stat
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import psutil
import torch
from accelerate.state import AcceleratorState
from surgrec_shard.commands import main as surgrec_shard_main

# Imported here once, so that the child of each command need not.
import surgrec.evaluation
import surgrec.features
import surgrec.report
import surgrec.training  # noqa: F401
from surgrec.commands.main import main as surgrec_main
from tests.support.processes import ROOT

_SECONDS = 90.0
"""Longest time of a command; the machine may be busy."""
_BYTES = 3 << 30
"""Largest memory of a command with its children."""
_FILE_BYTES = 1 << 30
"""Largest file that a command may write."""
_SUCCESS = (0, 3)
"""Statuses of a command that did its work; with 3 it names what it left out."""
_REFUSED = (1, 2)
_HASHED_BYTES = 32 << 20
"""Bytes at the start of a file that tell inputs apart."""

_tried: dict[str, str] = {}
"""Names of the kinds that were tried, by the digest of their input."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """The end of a command."""

    status: int
    """Exit status; negative for a signal."""
    out: str
    errors: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of hostile input."""

    name: str
    """Claim about the outcome, unique in its family."""
    make: Callable[[Path], Sequence[object]]
    """Writes the input into an empty folder and returns the command, for example
    `["surgrec", "features", folder / "weights.safetensors", ...]`. The first word is `surgrec`,
    `surgrec-shard`, `jepa` or `mae`."""
    right: Callable[[Path, Run], None] | None = None
    """Asserts that the result is right, given the folder and a run with status 0 or 3. None: the
    command must refuse the input."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the command."""
    seconds: float = _SECONDS
    """Longest time of the command."""


def try_kind(kind: Kind, parent: Path, *, in_folder: bool = True) -> Run:
    """Run the command of a kind and fail the test if the outcome is neither right nor a refusal.

    It fails too if another kind had the same input: the number of kinds counts different inputs.

    Args:
        kind: The kind.
        parent: An empty folder, in which the input gets a folder of its own.
        in_folder: Whether the input is the folder, the command and its environment; else it is a
            machine or a server that behaves differently.
    """
    folder = parent / "input"
    folder.mkdir()
    words = kind.make(folder)
    if in_folder:
        digest = input_digest(words, folder, kind.env)
        assert _tried.setdefault(digest, kind.name) == kind.name, (
            f"{_tried[digest]!r} has the same input"
        )

    run = run_command(words, folder, kind.env, kind.seconds)
    text = f"status {run.status}\n{run.errors[-3000:]}"
    assert "Traceback" not in run.errors + run.out, text
    assert run.status in (*_SUCCESS, *_REFUSED), text

    if run.status in _SUCCESS:
        assert kind.right is not None, f"the input was accepted\n{text}\n{run.out[-1000:]}"
        kind.right(folder, run)
    else:
        sentences = [line for line in run.errors.splitlines() if "error: " in line]
        assert len(sentences) == 1, text
        assert run.errors.splitlines()[-1] == sentences[0], text
        assert len(sentences[0]) < 1500, text
    return run


def run_command(
    words: Sequence[object], folder: Path, env: Mapping[str, str], seconds: float = _SECONDS
) -> Run:
    """Run a command in a child of this process, which has all modules, under limits.

    Args:
        words: The command: `surgrec`, `surgrec-shard`, `jepa` or `mae`, then its arguments.
        folder: Working folder of the command. Its output is written beside it.
        env: Environment variables, added to those of the test.
        seconds: Longest time of the command.
    """
    command = [os.fsencode(word) if isinstance(word, Path) else str(word) for word in words]
    arguments = [os.fsdecode(word) if isinstance(word, bytes) else word for word in command]
    out, errors = folder.with_suffix(".out"), folder.with_suffix(".err")

    child = os.fork()
    if child == 0:
        _be_command(arguments, folder, out, errors, env)
    status = _wait(child, seconds)
    return Run(
        status=status,
        out=out.read_text(encoding="utf-8", errors="replace"),
        errors=errors.read_text(encoding="utf-8", errors="replace"),
    )


def input_digest(words: Sequence[object], folder: Path, env: Mapping[str, str]) -> str:
    """Return a digest of a command, its environment and all files, wherever the folder lies."""
    place = os.fsencode(folder)
    digest = hashlib.sha256()

    def add(part: bytes) -> None:
        part = part.replace(place, b"<folder>")
        digest.update(b"%d " % len(part) + part)

    for word in words:
        add(os.fsencode(word) if isinstance(word, Path) else str(word).encode(errors="replace"))
    for name, value in sorted(env.items()):
        add(os.fsencode(f"{name}={value}"))

    for parent, folders, names in os.walk(os.fsencode(folder)):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = os.path.join(parent, name)
            status = os.lstat(path)
            add(path)
            add(b"%o %d %d" % (status.st_mode, status.st_uid, status.st_size))
            if stat.S_ISLNK(status.st_mode):
                add(os.readlink(path))
            elif stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    add(file.read(_HASHED_BYTES))
    return digest.hexdigest()


def _be_command(
    words: Sequence[str], folder: Path, out: Path, errors: Path, env: Mapping[str, str]
) -> NoReturn:
    """Turn this forked process into the command, and end it."""
    status = 70
    try:
        os.setpgid(0, 0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
        for descriptor, path in ((1, out), (2, errors)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False)
        # The threads of torch do not survive the fork: a command that waited for them would hang.
        torch.set_num_threads(1)
        # A test of this process may have started Accelerate, which then keeps its device.
        AcceleratorState._reset_state(reset_partial_state=True)
        os.environ |= {"ACCELERATE_USE_CPU": "true", **env}
        os.chdir(folder)

        sys.argv = list(words)
        status = _status_of(words[0])
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _status_of(program: str) -> int:
    """Run a program whose arguments are in `sys.argv`. Return its exit status."""
    try:
        if program == "surgrec":
            surgrec_main()
        elif program == "surgrec-shard":
            surgrec_shard_main()
        else:
            runpy.run_path(str(ROOT / f"recipes/{program}.py"), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            sys.stderr.write(f"{end.code}\n")
            return 1
        return int(end.code or 0)
    return 0


def _wait(child: int, seconds: float) -> int:
    """Wait for a child and stop it with its process group at a limit. Return its exit status.

    Raises:
        AssertionError: It took too long, or too much memory.
    """
    deadline = time.monotonic() + seconds
    pause_s = 0.002
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            _kill_group(child)
            return os.waitstatus_to_exitcode(status)

        used = _memory(child)
        if time.monotonic() > deadline or used > _BYTES:
            _kill_group(child)
            os.waitpid(child, 0)
            problem = "took too long" if used <= _BYTES else f"took {used >> 20} MiB"
            raise AssertionError(f"the command {problem}")
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.1)


def _memory(child: int) -> int:
    """Return the private memory of a process and its descendants, bytes."""
    try:
        family = [psutil.Process(child), *psutil.Process(child).children(recursive=True)]
        return sum(member.memory_full_info().uss for member in family)
    except psutil.Error:
        return 0


def _kill_group(child: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
