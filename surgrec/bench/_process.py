"""The command of a step as a process, with a log."""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

from surgrec.bench._steps import Step
from surgrec.text import one_line, visible

_SERVER = "surgrec.commands._fork_server"
"""Module that runs commands and ends with this process."""
_PATIENCE_S = 60.0
"""Longest wait for a command that was interrupted."""
_MOST_TAIL = 1 << 16
"""Bytes at the end of a log in which the last message is searched."""
_MOST_SENTENCE = 600
_PREFIX = re.compile(r"^surgrec(-shard)?( [a-z-]+)?: (error: )?")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Commands:
    """Runs the commands of steps, each in a process of its own.

    The processes are forks of one server, which has imported what commands import. It starts with
    the first command, and ends with the `with` statement.
    """

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Commands":
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            _end_server(self._server)
            self._server = None

    def run(self, step: Step, out: Path) -> tuple[int, str]:
        """Run the command of a step in the folder of the benchmark.

        The log begins with the command line, to run by hand. Standard error goes to the log.

        Args:
            step: The step.
            out: Folder of the benchmark.

        Returns:
            The exit status, and the last message of the log.
        """
        log = log_path(out, step)
        log.parent.mkdir(parents=True, exist_ok=True)
        if not step.is_resumable:
            for name in step.written:
                _remove(out / name)
        for name in step.written:
            (out / name).parent.mkdir(parents=True, exist_ok=True)

        log.write_text(f"$ cd {out}\n$ {step.command}\n", encoding="utf-8")
        prints = out / step.prints if step.prints else log
        if step.prints:
            prints.write_bytes(b"")
        request = {
            "program": step.program,
            "words": [*step.words, *step.machine],
            "folder": str(out),
            "prints": str(prints.absolute()),
            "errors": str(log.absolute()),
        }
        return self._status(json.dumps(request)), last_message(log)

    def _status(self, request: str) -> int:
        """Send a request, and return the exit status of its command."""
        if self._server is None:
            # -P: a file in the folder of the caller is never imported.
            words = [sys.executable, "-P", "-m", _SERVER, str(os.getpid())]
            self._server = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        server = self._server
        number = None
        try:
            with suppress(BrokenPipeError):
                _pipe(server.stdin).write(f"{request}\n".encode())
            number = _number(server)
            status = None if number is None else _number(server)
        except BaseException:
            _interrupt(server, number)
            raise
        if status is None:  # the server itself was ended, and its command with it
            self._server = None
            status = server.wait()
        return status


def log_path(out: Path, step: Step) -> Path:
    """Return the log of a step."""
    return out / "logs" / f"{step.name}.log"


def last_message(log: Path) -> str:
    """Return the last line of a log, without the name of the program."""
    lines = plain_lines(log)
    return one_line(visible(_PREFIX.sub("", lines[-1])), _MOST_SENTENCE) if lines else ""


def plain_lines(log: Path) -> list[str]:
    """Return the last lines of a log as text, without colors and without the command."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _MOST_TAIL))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in _ESCAPE.sub("", text).splitlines()]
    return [line for line in lines if line and not line.startswith("$ ")]


def _number(server: "subprocess.Popen[bytes]") -> int | None:
    """Return the next line of a server; None if it has ended."""
    line = _pipe(server.stdout).readline()
    return int(line) if line else None


def _interrupt(server: "subprocess.Popen[bytes]", command: int | None) -> None:
    """Interrupt a command, as Ctrl-C does, and wait for its end."""
    if command is not None:
        os.kill(command, signal.SIGINT)
        if not select.select([_pipe(server.stdout)], [], [], _PATIENCE_S)[0]:
            os.kill(command, signal.SIGKILL)
    _end_server(server)


def _end_server(server: "subprocess.Popen[bytes]") -> None:
    """End a server, and with it a command that still runs."""
    _pipe(server.stdin).close()
    server.terminate()
    server.wait()
    _pipe(server.stdout).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "the server has pipes"
    return pipe


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
