"""Run commands of SurgRec, each as a fork of this process, which imports their modules once.

`python -m surgrec.commands._fork_server PARENT` reads one request per line from standard input:
a JSON object with `program`, `words`, `folder`, and the files `prints` and `errors` that take what
the command writes. It replies with two lines on standard output: the number of the process, and its
exit status, which is negative if a signal ended it.

Importing torch and its users takes seconds, and a benchmark has hundreds of commands. This process
imports and forks, and does nothing else, so a command begins as a new process would. A command ends
when this process ends, which ends with its parent: a benchmark that is killed leaves no command
behind that would still write to its folder.
"""

import atexit
import ctypes
import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_MODULES = {
    "audit": ("surgrec.audit", "jinja2"),
    "evaluate": ("surgrec.evaluation", "surgrec.convert"),
    "vlm": ("surgrec.vlms",),
    "compare": ("surgrec.comparisons", "surgrec.report.comparison"),
    "check-source": ("surgrec_shard.check_source",),
    "build": ("surgrec_shard.build",),
}
"""Modules that a command imports in its functions, by its name: those that take longest."""


def main() -> None:
    """Serve requests until standard input ends. In a fork: run its command, and exit."""
    _end_with(int(sys.argv[1]))
    # Ctrl-C reaches all processes of a terminal. The benchmark itself ends the command.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    requests, replies = os.fdopen(os.dup(0), "rb", buffering=0), os.dup(1)
    _redirect(os.devnull, os.devnull)

    for line in iter(requests.readline, b""):
        request = json.loads(line)
        _import_modules(request["words"])
        server = os.getpid()
        process = os.fork()
        if process == 0:
            requests.close()
            os.close(replies)
            _run(request, server)
        os.write(replies, f"{process}\n".encode())
        _, status = os.waitpid(process, 0)
        os.write(replies, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def _import_modules(words: list[str]) -> None:
    """Import the packages of a command. The command itself names a missing one."""
    for module in _MODULES.get(words[0], ()):
        with suppress(ModuleNotFoundError):
            import_module(module)
    gc.freeze()  # forks do not search these objects for garbage


def _run(request: Mapping[str, Any], server: int) -> None:
    """Run a command, and exit with its status."""
    _redirect(request["prints"], request["errors"])
    os.chdir(request["folder"])
    _end_with(server)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    sys.argv = [request["program"], *request["words"]]
    if request["program"] == "surgrec-shard":
        from surgrec_shard.commands import main as run_command
    else:
        from surgrec.commands.main import main as run_command
    try:
        run_command()
    except SystemExit as end:
        _exit(end.code if isinstance(end.code, int) else 1)


def _exit(status: int) -> NoReturn:
    """End a fork as the interpreter does, except that nothing is freed.

    To free the modules of the server, a fork would first copy all of their memory, which takes
    longer than most commands.
    """
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _redirect(prints: str, errors: str) -> None:
    """Append standard output and standard error to files. Nothing is read."""
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, prints, os.O_WRONLY | os.O_APPEND),
        (2, errors, os.O_WRONLY | os.O_APPEND),
    ):
        file = os.open(path, flags)
        os.dup2(file, number)
        os.close(file)


def _end_with(parent: int) -> None:
    """End this process when its parent ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit(1)


if __name__ == "__main__":
    main()
