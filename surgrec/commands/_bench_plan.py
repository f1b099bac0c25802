"""Print the steps of `surgrec bench --dry_run`, their needs and their states."""

from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from surgrec.bench import Plan, Settings, pending
from surgrec.bench.estimate import ASSUMPTIONS, CopyEstimate, Estimate, Footages, estimate
from surgrec.commands._train_extra import train_extra
from surgrec.terminal import escape, print_json, print_result, result_table, spinner
from surgrec.text import counted

_UNKNOWN = "unknown"


def print_plan(plan: Plan, settings: Settings, out: Path, *, json: bool) -> None:
    """Print the copies and the steps of a benchmark, with their costs.

    Args:
        plan: The steps.
        settings: Options of the commands.
        out: Folder of the benchmark.
        json: Print JSON in place of tables.
    """
    waiting = pending(plan.steps, out)
    with spinner("reading headers of the copies"), train_extra():
        footages = Footages(plan, settings, out)
        estimates = {each.step: each for each in estimate(plan, settings, waiting, footages)}
    copies = footages.copies()
    if json:
        steps = [
            {
                "step": step.name,
                "command": step.command,
                "is_done": step.name not in waiting,
                **(asdict(estimates[step.name]) if step.name in estimates else {}),
            }
            for step in plan.steps
        ]
        found = [{**asdict(copy), "folder": str(copy.folder)} for copy in copies]
        print_json({"copies": found, "steps": steps, "assumptions": ASSUMPTIONS})
        return

    _print_copies(copies)
    _print_steps(plan, out, waiting, estimates)
    print_result(escape(_summary(len(plan.steps), waiting, list(estimates.values()))))
    print_result(escape(ASSUMPTIONS))


def _print_copies(copies: list[CopyEstimate]) -> None:
    table = result_table(
        "copies", left=("data set", "copy", "from"), right=("hours of video",), wrap=True
    )
    _fold(table)
    for copy in copies:
        state = "there" if copy.is_there else f"missing: {copy.folder}"
        hours = _UNKNOWN if copy.hours is None else f"{copy.hours:.1f}"
        table.add_row(escape(copy.data_set), escape(state), escape(copy.basis), hours)
    print_result(table)


def _print_steps(plan: Plan, out: Path, waiting: set[str], rows: dict[str, Estimate]) -> None:
    table = result_table(
        f"steps of {out}",
        left=("step", "state"),
        right=("hours of video", "core-hours", "GB", "forward passes", "requests"),
        wrap=True,
    )
    _fold(table)
    for step in plan.steps:
        row = rows.get(step.name)
        sizes = (row.hours, row.core_hours, row.gigabytes) if row else ()
        counts = (row.forward_passes, row.requests) if row else ()
        table.add_row(
            escape(step.name),
            "to do" if step.name in waiting else "done",
            *(_UNKNOWN if each is None else f"{each:.1f}" for each in sizes),
            *(_UNKNOWN if each is None else f"{each:,}" if each else "" for each in counts),
        )
    print_result(table)


def _fold(table: Table) -> None:
    """Break words that are longer than their column, since paths and steps have no spaces."""
    for column in table.columns:
        column.overflow = "fold"


def _summary(num_steps: int, waiting: set[str], rows: list[Estimate]) -> str:
    """Return the sums over the steps that are left."""
    left = [each for each in rows if each.step in waiting]
    core_hours = sum(each.core_hours or 0.0 for each in left)
    gigabytes = sum(each.gigabytes or 0.0 for each in left)
    passes = sum(each.forward_passes or 0 for each in left)
    requests = sum(each.requests or 0 for each in left)
    unknown = sum(None in (each.core_hours, each.forward_passes, each.requests) for each in left)
    note = f", not counting {counted(unknown, 'step')} of unknown cost" if unknown else ""
    asked = f", {requests:,} requests to vision-language models" if requests else ""
    return (
        f"{len(waiting)} of {counted(num_steps, 'step')} to do: about {core_hours:.1f} core-hours, "
        f"{gigabytes:.1f} GB, {passes:,} forward passes{asked}{note}. Comparisons follow."
    )
