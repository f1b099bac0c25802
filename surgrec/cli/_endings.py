"""The ways in which a program ends: with its status, and one line about an error."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from surgrec.errors import SurgrecError, cut, is_lack_of_memory
from surgrec.terminal import log
from surgrec.text import one_line

_MOST_CHARACTERS = 1_400
"""Longest message: the names in it may have any length."""
_REASON_CHARACTERS = 200
_LESS_MEMORY = (
    "use a smaller model or batch, or fewer processes, or give the job more memory; `surgrec plan` "
    "names the --accumulation and --checkpointing with which a training fits a GPU"
)


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
        exit_with(prog, f"interrupted; {to_go_on}", 130)
    except BrokenPipeError:
        # `| head` has read enough: discard the output that Python still wants to flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (MemoryError, RuntimeError) as error:
        if not is_lack_of_memory(error):
            raise
        found = next(iter(str(error).splitlines()), "") or type(error).__name__
        exit_with(
            prog, f"error: memory ran out ({cut(found, _REASON_CHARACTERS)}); {_LESS_MEMORY}", 1
        )
    except OSError as error:
        # No permission, a full disk: an error that nothing closer to it turned into a sentence.
        path = error.filename or "a file"
        exit_with(prog, f"error: {path}: {error.strerror}; fix this and run the command again", 1)
    sys.exit(status or 0)


def print_error(prog: str, message: str) -> None:
    """Print an error of a program as one line on standard error."""
    print_line(prog, f"error: {message}")


def print_line(prog: str, message: str) -> None:
    line = f"{prog}: {one_line(message, _MOST_CHARACTERS)}"
    print(line, file=sys.stderr, flush=True)  # noqa: T201
    log(line)


def exit_with(prog: str, message: str, status: int) -> NoReturn:
    print_line(prog, message)
    sys.exit(status)


def refuse(prog: str, message: str) -> NoReturn:
    """Print one line about a wrong command line, and exit with 2."""
    exit_with(prog, f"error: {' '.join(message.split())} (see {prog} --help)", 2)


def print_and_exit(text: str) -> NoReturn:
    sys.stdout.write(text)
    sys.exit(0)
