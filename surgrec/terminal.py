"""Messages, tables and progress bars of the commands. Results go to standard output, all else to standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

SOME_FAILED = 3
"""Exit status of a command that finished but had to leave something out."""


def say(text: str) -> None:
    """Print a line on standard error; rich markup is interpreted."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(text)


def print_json(value: object) -> None:
    """Print one JSON value on standard output."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def result_table(title: str, *, left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    """Return an empty table: columns of text on the left, columns of numbers on the right."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in left:
        table.add_column(column, no_wrap=True)
    for column in right:
        table.add_column(column, justify="right", no_wrap=True)
    return table


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
