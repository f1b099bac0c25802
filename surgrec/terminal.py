"""Messages, tables and progress bars of the commands: the one place that uses rich.

Results go to standard output, everything else to standard error. With SURGREC_QUIET, only warnings
and errors go there; SURGREC_LOG_FILE names a file that gets every line with its time.
"""

import io
import json
import os
import string
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table
from rich.text import Text

__all__ = [
    "LOG_FILE",
    "QUIET",
    "SOME_FAILED",
    "StageProgress",
    "escape",
    "log",
    "print_json",
    "print_result",
    "progress_bars",
    "result_table",
    "say",
    "spinner",
    "stage_progress",
    "strip",
    "warn",
]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
SOME_FAILED = 3
"""Exit status of a command that finished but had to leave something out."""


QUIET = "SURGREC_QUIET"
"""Environment variable; if it is not empty, no notes and no progress are printed."""
LOG_FILE = "SURGREC_LOG_FILE"
"""Environment variable with the path of a file that gets all notes, warnings and errors."""


def say(message: Table | str) -> None:
    """Print a line or a table on standard error, unless the user asked for quiet.

    Args:
        message: A table (see `result_table`), or a line with rich markup: pass paths and other
            values through `escape`. A line is never wrapped.
    """
    if not os.environ.get(QUIET):
        _print_note(message)
    _log_note(message)


def warn(message: str, word: str = "warning", color: str = "yellow") -> None:
    """Print a warning on standard error, also if the user asked for quiet.

    Args:
        message: A line with rich markup: pass paths and other values through `escape`.
        word: The first word of the line.
        color: Its color.
    """
    line = f"[{color}]{word}[/{color}] {message}"
    _print_note(line)
    _log_note(line)


def log(line: str) -> None:
    """Append a line to the log file that SURGREC_LOG_FILE names, if it names one.

    If the file cannot be written, a warning says so once, and the program goes on without it.
    """
    path = os.environ.get(LOG_FILE)
    if not path:
        return
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    text = "".join(f"{now} {part}\n" for part in line.splitlines())
    try:
        # One write per call: the lines of several processes stay whole.
        with Path(path).open("ab", buffering=0) as file:
            file.write(text.encode("utf-8", errors="replace"))
    except OSError as error:
        del os.environ[LOG_FILE]
        warn(f"{escape(path)} cannot be written ({error.strerror}); nothing more is logged")


def _print_note(message: Table | str) -> None:
    is_line = isinstance(message, str)
    Console(stderr=True, highlight=False, soft_wrap=is_line).print(message)


def _log_note(message: Table | str) -> None:
    """Log a note as plain text, without colors."""
    if os.environ.get(LOG_FILE):
        text = io.StringIO()
        Console(file=text, width=120, soft_wrap=isinstance(message, str)).print(message)
        log(text.getvalue().rstrip())


def print_json(value: object) -> None:
    """Print one JSON value on standard output."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def print_result(result: Table | str) -> None:
    """Print a table, or a line with rich markup, on standard output."""
    Console(highlight=False).print(result)


def spinner(text: str) -> AbstractContextManager[Status]:
    """Show a text with a spinner on standard error for as long as a `with` statement runs.

    The result's method `update` changes the text.
    """
    return _progress_console().status(text)


def result_table(
    title: str, *, left: tuple[str, ...], right: tuple[str, ...], wrap: bool = False
) -> Table:
    """Return an empty table.

    Args:
        title: Line above the table.
        left: Names of the first columns, which hold text.
        right: Names of the other columns, which hold numbers.
        wrap: Wrap cells on a narrow terminal; otherwise cut them off.
    """
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in left:
        table.add_column(column, no_wrap=not wrap)
    for column in right:
        table.add_column(column, justify="right", no_wrap=not wrap)
    return table


def strip(
    segments: Sequence[tuple[float, float, str]], whole_s: float, *, width: int
) -> tuple[str, dict[str, str]]:
    """Return segments over time as one line of letters, readable without colors.

    Args:
        segments: Start and end in seconds, and value.
        whole_s: Time that the line shows, seconds.
        width: Characters of the line.

    Returns:
        The line, with `.` where nothing is and `+` where several values are, and the letter of
        each value in the order of their first segments. Values behind the 62nd share `#`.
    """
    legend: dict[str, str] = {}
    for _, _, value in segments:
        legend.setdefault(value, _LETTERS[len(legend)] if len(legend) < len(_LETTERS) else "#")

    # A character shows the value that covers most of its time.
    covered: list[dict[str, float]] = [{} for _ in range(width)]
    step_s = whole_s / width
    for start_s, end_s, value in segments:
        first = min(int(start_s / step_s), width - 1) if step_s else 0
        last = min(int(end_s / step_s), width - 1) if step_s else 0
        for index in range(first, last + 1):
            part_s = min(end_s, (index + 1) * step_s) - max(start_s, index * step_s)
            if part_s > 0:
                covered[index][value] = covered[index].get(value, 0.0) + part_s
    line = ""
    for values in covered:
        shared = sum(values.values()) > 1.5 * step_s
        line += "+" if shared else legend[max(values, key=values.__getitem__)] if values else "."
    return line, legend


def progress_bars() -> Progress:
    """Return progress bars on standard error; start them with a `with` statement."""
    bar = BarColumn(bar_width=24)  # the texts behind it fit into 80 columns
    columns = (TextColumn("{task.description:>10}"), bar, MofNCompleteColumn())
    return Progress(*columns, _LeftColumn(), console=_progress_console())


def _progress_console() -> Console:
    return Console(stderr=True, quiet=bool(os.environ.get(QUIET)))


class _LeftColumn(TimeRemainingColumn):
    """The text of a task, if it has one, or else the time that is left."""

    def render(self, task: Task) -> Text:
        text = task.fields.get("text")
        return Text.from_markup(text) if text else super().render(task)


class StageProgress:
    """One bar per stage.

    Args:
        bars: The bars.
    """

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show how many items of a stage are done."""
        self._counts[stage] = done, total
        self._bars.update(self._task(stage), completed=done, total=total)

    def counts(self, stage: str) -> tuple[int, int]:
        """Return how many items of a stage are done, and how many there are."""
        return self._counts.get(stage, (0, 0))

    def describe(self, stage: str, text: str) -> None:
        """Show a text behind the bar of a stage."""
        self._bars.update(self._task(stage), text=escape(text))

    def _task(self, stage: str) -> TaskID:
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=None)
        return self._tasks[stage]


@contextmanager
def stage_progress() -> Iterator[StageProgress]:
    """Show one bar per stage."""
    with progress_bars() as bars:
        yield StageProgress(bars)
