"""The answers of a task as values of its windows: read, counted, compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from surgrec.errors import ConfigError
from surgrec.evaluation.tasks import LabeledWindows
from surgrec.scores.classification import NO_CLASS
from surgrec.text import counted
from surgrec.vlms._answer_file import AnswerFile
from surgrec.vlms._constraints import Mode
from surgrec.vlms._job import ANSWERS_FILE, unreadable_windows
from surgrec.vlms._prompts import Condition
from surgrec.vlms._task import VlmTask, scored_conditions

Value = str | tuple[str, ...] | None
"""The class or the classes that an answer names; None if it cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The answers of one condition."""

    condition: Condition
    values: list[Value]
    """Of each window, in the order of `rows`."""
    rows: Int64[np.ndarray, " n"]
    """The windows, as indices of test windows."""
    finish: list[str]
    """Why each answer ended."""

    @property
    def unread(self) -> int:
        """Number of answers that cannot be read."""
        return sum(value is None for value in self.values)


@dataclass(frozen=True, kw_only=True)
class Readings:
    """The windows of a task, and the answers of all conditions."""

    windows: LabeledWindows
    scored: list[Reading]
    """Of every test window: the main condition, then the controls."""
    variations: list[Reading]
    """Of some test windows: other wordings and orders."""
    mode: Mode


def read_answers(task: VlmTask, mode: Mode) -> Readings:
    """Read the stored answers of a task; no model is asked.

    Raises:
        ConfigError: Answers are missing.
    """
    path = task.config.out / ANSWERS_FILE
    answers = AnswerFile(path, writable=False)
    windows = task.windows(unreadable_windows(task, answers, mode))
    rows = windows.test.rows
    varied = [index for index, row in enumerate(rows) if row.key in task.varied]
    missing: dict[str, str] = {}  # condition of each key without an answer

    def reading(condition: Condition, indices: Sequence[int]) -> Reading:
        shown = task.shown(condition, windows)
        asked = task.question(condition)
        keys = [task.key(condition, rows[index], shown[index], mode) for index in indices]
        found = [answers.get(key) for key in keys]
        for key, stored in zip(keys, found, strict=True):
            if stored is None:
                missing.setdefault(key, condition.name)
        texts = [(row["text"], row["finish"]) for row in found if row is not None]
        return Reading(
            condition=condition,
            values=[asked.read(text) for text, _ in texts],
            rows=np.array(indices, dtype=np.int64),
            finish=[finish for _, finish in texts],
        )

    scored = [reading(each, range(len(rows))) for each in scored_conditions(task)]
    variations = [reading(each, varied) for each in task.variations]
    if missing:
        raise ConfigError(
            f"{path} lacks {counted(len(missing), 'answer')} of these options, such as of the "
            f"condition {next(iter(missing.values()))}; run the same command without --rescore"
        )
    return Readings(windows=windows, scored=scored, variations=variations, mode=mode)


def classes_of(reading: Reading, windows: LabeledWindows) -> Int64[np.ndarray, " n"]:
    """Return the class of each answer as an index; `NO_CLASS` if it cannot be read."""
    index_of = {name: index for index, name in enumerate(windows.classes)}
    found = [index_of.get(str(value), NO_CLASS) for value in reading.values]
    return np.array(found, dtype=np.int64)


def sets_of(reading: Reading, windows: LabeledWindows) -> Bool[np.ndarray, "n classes"]:
    """Return which classes each answer names.

    An answer that cannot be read is wrong for each class: it is the opposite of the labels.
    """
    index_of = {name: index for index, name in enumerate(windows.classes)}
    found: Bool[np.ndarray, "n classes"] = ~windows.sets_of(windows.test)[reading.rows]
    for row, value in enumerate(reading.values):
        if value is not None:
            found[row] = False
            found[row, [index_of[name] for name in value if name in index_of]] = True
    return found
