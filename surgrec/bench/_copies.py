"""Files that the user's copies of data sets lack."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from surgrec.bench._choice import BenchTask
from surgrec.bench._names import build_name, check_file, check_name
from surgrec.bench._process import log_path, plain_lines
from surgrec.bench._results import read_check
from surgrec.bench._runner import Outcome
from surgrec.text import counted

_SHOWN_LINES = 20
_LEFT_OUT = ("skipped ", "without its end ")
"""Beginnings of the lines of a build about videos that are not in the corpus, or not whole."""


def without_folders(text: str, folders: Iterable[Path]) -> str:
    """Return a text with names relative to some folders, so that no page shows where they are."""
    for folder in sorted({str(each) for each in folders}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "").replace(folder, Path(folder).name)
    return text


def copy_faults(task: BenchTask, outcomes: Mapping[str, Outcome], out: Path) -> list[str]:
    """Return the missing and odd parts of a task's copy; nothing if it was not checked."""
    outcome = outcomes.get(check_name(task)) if task.split else None
    if outcome is None or outcome.state == "not run":
        return []
    if not outcome.is_done:
        sentence = without_folders(outcome.sentence, (task.folder, out))
        return [f"the copy cannot be used: {sentence}"]

    check = read_check(out / check_file(task))
    lines = [f"missing: {line}" for line in check["missing"]]
    lines += [
        f"missing: {total['what']}: {total['found']:g} of {total['expected']:g}"
        for total in check["totals"]
        if total["is_less"]
    ]
    lines += [f"odd: {line}" for line in check["odd"]]
    if len(lines) > _SHOWN_LINES:
        rest = len(lines) - _SHOWN_LINES
        lines = [*lines[:_SHOWN_LINES], f"{counted(rest, 'more line')} in {check_file(task)}"]
    return [without_folders(line, (task.folder, out)) for line in lines]


def build_losses(task: BenchTask, outcomes: Mapping[str, Outcome], out: Path) -> list[str]:
    """Return the videos that the build of a task's corpus left out, from its log."""
    outcome = outcomes.get(build_name(task)) if task.split else None
    if outcome is None or not outcome.is_done or outcome.status == 0:
        return []
    log = plain_lines(log_path(out, outcome.step))
    lines = [
        f"the build left out: {without_folders(line, (task.folder, out))}"
        for line in log
        if line.startswith(_LEFT_OUT)
    ]
    return lines or [f"the build left something out; see {log_path(Path(), outcome.step)}"]


def is_incomplete(faults: list[str]) -> bool:
    """Return whether something is missing, and not merely odd."""
    return any(not line.startswith("odd: ") for line in faults)
