"""The options before a command that say where its notes go."""

import itertools
import os
from collections.abc import Collection, Sequence

from surgrec.cli._endings import refuse
from surgrec.errors import shown
from surgrec.terminal import LOG_FILE, QUIET

_OPTIONS = {"__quiet": "", "__log_file": " PATH"}
"""The options, and their values in messages."""


def set_output(prog: str, words: list[str]) -> list[str]:
    """Apply the options before a command that say where notes go; return the other words.

    They become environment variables, so that all processes of the command follow them.
    """
    while words:
        name, _, path = words[0].partition("=")
        option, words_after = name.replace("-", "_"), words[1:]
        if option == "__quiet" and name == words[0]:
            os.environ[QUIET] = "1"
        elif option == "__log_file":
            if name == words[0] and words_after:
                path, *words_after = words_after
            _open_log(prog, path)
        else:
            break
        words = words_after
    return words


def check_place(prog: str, command: str, words: Sequence[str], known: Collection[str]) -> None:
    """Refuse these options behind a command, which does not have them.

    Args:
        prog: Name of the program.
        command: Name of the command.
        words: Words behind the command.
        known: Options of the command.
    """
    for word in itertools.takewhile(lambda each: each != "--", words):
        option = word.partition("=")[0]
        name = option.replace("-", "_")
        if name in _OPTIONS and name.removeprefix("__") not in known:
            place = f"{prog} {option}{_OPTIONS[name]} {command}"
            refuse(prog, f"{option} belongs before the command: {place}")


def _open_log(prog: str, path: str) -> None:
    """Make a file the log file, if it can be written."""
    if not path:
        refuse(prog, "--log_file needs a path")
    try:
        with open(path, "ab"):
            pass
    except OSError as error:
        refuse(prog, f"--log_file {shown(path)} cannot be written ({error.strerror})")
    os.environ[LOG_FILE] = os.path.abspath(path)
