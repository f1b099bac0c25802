"""Ask a model all prompts of a task that have no answer yet, several at once."""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from surgrec.errors import ConfigError, SampleError, SurgrecError, cut
from surgrec.evaluation.tasks import LabeledWindows, WindowKey
from surgrec.features import WindowRow
from surgrec.json_files import read_json
from surgrec.storage import open_store
from surgrec.storage.lock import hold
from surgrec.vlms._answer_file import AnswerFile, AnswerRow
from surgrec.vlms._constraints import MODES, Mode, Trials
from surgrec.vlms._model import Model, Prompt
from surgrec.vlms._prompts import MAIN, Condition
from surgrec.vlms._task import VlmTask

ANSWERS_FILE, MODEL_FILE = "answers.jsonl", "model.json"
_AHEAD = 2
"""Prompts that are prepared for each one that runs."""

Progress = Callable[[str, int, int], None]
"""Takes a stage, the number of windows that are done, and their total."""


class ModelRecord(TypedDict):
    """The content of `model.json`."""

    identity: dict[str, Any]
    """The facts that distinguish the answers of the model."""
    mode: str
    """How answers are constrained."""
    trials: NotRequired[Trials]
    """How the trial of each constraint ended."""
    endpoints: NotRequired[list[str]]
    """Addresses of the servers that gave answers, in the order of their first use."""


def read_model(out: Path) -> ModelRecord | None:
    """Return the model and the constraint of the answers in a folder; None if it has none.

    Raises:
        ConfigError: The file is damaged.
    """
    path = out / MODEL_FILE
    if not path.exists():
        return None
    record = read_json(path, ModelRecord, error=ConfigError, remedy="give another --out")
    if record["mode"] not in MODES:
        raise ConfigError(f"{path} has the unknown mode {record['mode']!r}; give another --out")
    return record


def require_same_model(out: Path, identity: dict[str, Any]) -> None:
    """Refuse a folder with the answers of another model.

    Raises:
        ConfigError: Names both models.
    """
    record = read_model(out)
    if record is not None and record["identity"] != identity:
        raise ConfigError(
            f"{out} holds answers of {record['identity'].get('name')} "
            f"({_short(record['identity'])}), not of {identity.get('name')} ({_short(identity)}); "
            "give another --out"
        )


def ask_all(task: VlmTask, model: Model, progress: Progress) -> Mode:
    """Ask every prompt of a task that has no answer yet.

    First come the prompts with the images of the windows; windows whose frames cannot be read are
    then known, and the controls are asked without them. Answers are on the disk as they arrive,
    so that the same call continues after any end.

    Args:
        task: The task.
        model: The model.
        progress: Called after each window.

    Returns:
        How the answers are constrained.

    Raises:
        SurgrecError: The model cannot answer, or a store cannot be read.
    """
    out = task.config.out
    out.mkdir(parents=True, exist_ok=True)
    with hold(out, doing="asking a model"):
        require_same_model(out, dict(model.identity))
        mode = _chosen_mode(task, model)
        answers = AnswerFile(out / ANSWERS_FILE, writable=True)
        _ask_about_windows(task, model, answers, mode, progress)
        windows = task.windows(unreadable_windows(task, answers, mode))
        _ask_controls(task, model, answers, mode, windows, progress)
    return mode


def unreadable_windows(task: VlmTask, answers: AnswerFile, mode: Mode) -> dict[WindowKey, str]:
    """Return the reason of each test window whose frames could not be read."""
    found = {}
    for row in task.planned.test.rows:
        stored = answers.get(task.key(MAIN, row, row, mode))
        if stored is not None and "unreadable" in stored:
            found[row.key] = stored["unreadable"]
    return found


def _chosen_mode(task: VlmTask, model: Model) -> Mode:
    """Return the constraint of earlier answers, or else the strictest that the model enforces."""
    out, server = task.config.out, task.config.model.server
    record = read_model(out)
    endpoints = record.get("endpoints", []) if record is not None else []
    endpoints = [*endpoints, *([model.place] if model.place else [])]
    if record is not None and (server is None or server.constrain in ("auto", record["mode"])):
        mode: Mode = record["mode"]  # type: ignore[assignment]  # `read_model` checked it
        trials = record.get("trials", {})
    else:
        mode, trials = model.choose_mode(task.question(MAIN))
    content = ModelRecord(
        identity=dict(model.identity),
        mode=mode,
        trials=trials,
        endpoints=list(dict.fromkeys(endpoints)),
    )
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    open_store(out).write(MODEL_FILE, text.encode("utf-8"))
    return mode


def _ask_about_windows(
    task: VlmTask, model: Model, answers: AnswerFile, mode: Mode, progress: Progress
) -> None:
    """Ask the prompts with the images of each window."""
    rows = task.planned.test.rows
    with _asking(model, answers) as ask:
        for number, row in enumerate(rows, start=1):
            asked = [MAIN, *(task.variations if row.key in task.varied else [])]
            stored = answers.get(task.key(MAIN, row, row, mode))
            if stored is None or "unreadable" not in stored:
                _ask_window(task, answers, mode, asked, row, row, ask)
            progress("windows", number, len(rows))


def _ask_controls(
    task: VlmTask,
    model: Model,
    answers: AnswerFile,
    mode: Mode,
    windows: LabeledWindows,
    progress: Progress,
) -> None:
    """Ask the prompts without the images of a window."""
    for condition in task.controls:
        rows = windows.test.rows
        with _asking(model, answers) as ask:
            shown = task.shown(condition, windows)
            for number, (row, other) in enumerate(zip(rows, shown, strict=True), start=1):
                _ask_window(task, answers, mode, [condition], row, other, ask)
                progress(condition.name.replace("_", " "), number, len(rows))


_Ask = Callable[[str, Condition, WindowRow, Prompt], None]


def _ask_window(
    task: VlmTask,
    answers: AnswerFile,
    mode: Mode,
    asked: Sequence[Condition],
    row: WindowRow,
    shown: WindowRow | None,
    ask: _Ask,
) -> None:
    """Ask the conditions of a window that have no answer; its frames are decoded once for all."""
    keys = {task.key(condition, row, shown, mode): condition for condition in asked}
    missing = {key: each for key, each in keys.items() if answers.get(key) is None}
    if not missing:
        return

    images = [] if shown is None else task.images.read(shown)
    if isinstance(images, SampleError):
        if shown is not row:
            raise ConfigError(
                f"{images}; its images were read before, for the answers about it; restore the "
                "corpus, or give another --out"
            )
        key, condition = next(iter(keys.items()))
        stored = _row(key, condition, row, mode, "", "")
        answers.add({**stored, "unreadable": str(images)})
        return

    for key, condition in missing.items():
        ask(key, condition, row, task.prompt(condition, row, mode, images))


@contextmanager
def _asking(model: Model, answers: AnswerFile) -> Iterator[_Ask]:
    """Yield a function that asks a prompt in another thread, once for each key.

    It waits while many prompts run. At the end all answers are stored; the first failure is raised
    after the answers of the prompts that still ran.
    """
    pool = ThreadPoolExecutor(model.parallel, thread_name_prefix="ask")
    running: dict[Future[None], str] = {}

    def answer(key: str, condition: Condition, row: WindowRow, prompt: Prompt) -> None:
        found = model.answer(prompt)
        answers.add(_row(key, condition, row, prompt.mode, found.text, found.finish))

    def collect(at_most: int) -> None:
        while len(running) > at_most:
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                del running[done]
                done.result()

    def ask(key: str, condition: Condition, row: WindowRow, prompt: Prompt) -> None:
        collect(_AHEAD * model.parallel - 1)
        if key not in running.values():
            running[pool.submit(answer, key, condition, row, prompt)] = key

    is_done = False
    try:
        yield ask
        collect(0)
        is_done = True
    except SurgrecError as problem:
        _end(model, pool)
        raise type(problem)(
            f"{problem}; {len(answers)} answers are kept in {ANSWERS_FILE}"
        ) from None
    finally:
        if not is_done:
            _end(model, pool)
        pool.shutdown()


def _end(model: Model, pool: ThreadPoolExecutor) -> None:
    """End a job early: prompts that run are still answered, all others are not asked."""
    model.stop()
    pool.shutdown(wait=True, cancel_futures=True)


def _row(
    key: str, condition: Condition, row: WindowRow, mode: str, text: str, finish: str
) -> AnswerRow:
    return {
        "key": key,
        "condition": condition.name,
        "source": row.source,
        "case": row.case,
        "video": row.video,
        "start_s": row.start_s,
        "mode": mode,
        "text": text,
        "finish": finish,
    }


def _short(identity: dict[str, Any]) -> str:
    told = identity.get("served", {})
    place = identity.get("endpoint") or ", ".join(f"{name} {told[name]}" for name in sorted(told))
    return cut(place) if place else str(identity.get("sha256", "without a digest"))[:8]
