"""Messages, tables and progress bars of the commands: the one place that uses rich.

Results go to standard output, everything else to standard error.
"""

import json
import string
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = [
    "SOME_FAILED",
    "escape",
    "print_json",
    "print_result",
    "progress_bars",
    "result_table",
    "say",
    "spinner",
    "stage_progress",
    "strip",
]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits
SOME_FAILED = 3
"""Exit status of a command that finished but had to leave something out."""


def say(message: Table | str) -> None:
    """Print a line or a table on standard error.

    Args:
        message: A table (see `result_table`), or a line with rich markup: pass paths and other
            values through `escape`. A line is never wrapped.
    """
    is_line = isinstance(message, str)
    Console(stderr=True, highlight=False, soft_wrap=is_line).print(message)


def print_json(value: object) -> None:
    """Print one JSON value on standard output."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def print_result(result: Table | str) -> None:
    """Print a table, or a line with rich markup, on standard output."""
    Console(highlight=False).print(result)


def spinner(text: str) -> AbstractContextManager[object]:
    """Show a text with a spinner on standard error for as long as a `with` statement runs."""
    return Console(stderr=True).status(text)


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
    columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


@contextmanager
def stage_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar per stage; the yielded function takes (stage, done, total)."""
    with progress_bars() as bars:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield update
