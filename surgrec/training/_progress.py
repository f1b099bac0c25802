"""The progress of a run: a bar in a terminal, lines in the log of a job."""

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from surgrec.terminal import say

Numbers = TypeVar("Numbers")

_LINE_EVERY_S = 30.0


def progress_bar(
    first_step: int,
    steps: int,
    latest: Callable[[], Numbers | None],
    describe: Callable[[Numbers], str],
    *,
    show: bool,
) -> Iterator[int]:
    """Yield the steps of a run, and show a bar with the last numbers.

    Without a terminal, such as in the log of a job, it prints a line every half minute instead.

    Args:
        first_step: Step of the start.
        steps: Number of steps of the whole run.
        latest: Returns the last numbers; None before there are any.
        describe: Returns numbers as text.
        show: Whether this process shows it.
    """
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    is_bar = show and console.is_terminal
    printed: Numbers | None = None
    printed_at = -math.inf
    with Progress(*columns, console=console, disable=not is_bar) as bar:
        task = bar.add_task("", total=steps, completed=first_step)
        for step in range(first_step, steps):
            yield step
            numbers = latest()
            description = "" if numbers is None else describe(numbers)
            bar.update(task, completed=step + 1, description=description)

            # Numbers change at a sync only; always print the last ones.
            is_due = time.monotonic() - printed_at >= _LINE_EVERY_S or step + 1 == steps
            if show and not is_bar and numbers is not printed and is_due:
                say(f"step {step + 1}/{steps}  {description}")
                printed, printed_at = numbers, time.monotonic()
