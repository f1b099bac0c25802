"""Write the windows of a task for other harnesses: lmms-eval and VLMEvalKit.

Formats: a task of lmms-eval is a YAML file with functions in Python and rows as JSON lines; a data
set of VLMEvalKit is a TSV file with one column per option.
"""

import csv
import inspect
import io
import json
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from surgrec.errors import SampleError
from surgrec.features import WindowRow
from surgrec.storage import open_store
from surgrec.vlms import _answers, _lmms_eval_functions, _options, _statements
from surgrec.vlms._constraints import most_tokens
from surgrec.vlms._job import Progress
from surgrec.vlms._prompts import MAIN, image_captions, introduction, question_text
from surgrec.vlms._task import VlmTask

Harness = Literal["lmms-eval", "vlmevalkit"]

_TASK = """\
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
task: {name}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.doc_to_visual
doc_to_text: !function utils.doc_to_text
doc_to_target: answer
process_results: !function utils.process_results
generation_kwargs:
  max_new_tokens: {max_tokens}
  temperature: 0
  do_sample: false
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
  - metric: unread
    aggregation: mean
    higher_is_better: false
metadata:
  - version: 1.0
"""


def export_windows(task: VlmTask, harness: Harness, progress: Progress) -> tuple[Path, int]:
    """Write images, questions and answers of all test windows for another harness.

    Args:
        task: The task.
        harness: The harness.
        progress: Called after each window.

    Returns:
        The folder, and the number of windows whose frames cannot be read and that are left out.

    Raises:
        StorageError: A file cannot be read or written.
    """
    folder = task.config.out / harness
    store = open_store(folder)
    rows, number = [], len(task.planned.test.rows)
    for done, (window, images) in enumerate(_images(task), start=1):
        if not isinstance(images, SampleError):
            names = [f"images/{done:07d}-{place:02d}.jpg" for place in range(len(images))]
            for name, image in zip(names, images, strict=True):
                store.write(name, image)
            paths = [str((folder / name).absolute()) for name in names]
            rows.append(_row(task, done - 1, window, paths))
        progress("windows", done, number)

    name = re.sub(r"\W+", "_", f"surgrec_{task.config.task.task}").lower()
    files = _lmms_eval(task, folder, name, rows) if harness == "lmms-eval" else _tsv(name, rows)
    for file, text in files.items():
        store.write(file, text.encode("utf-8"))
    return folder, number - len(rows)


def _images(task: VlmTask) -> Iterator[tuple[WindowRow, list[bytes] | SampleError]]:
    for window in task.planned.test.rows:
        yield window, task.images.read(window)


def _row(task: VlmTask, index: int, window: WindowRow, paths: list[str]) -> dict[str, Any]:
    """Return a window with its question, in the order of options by name."""
    asked, part = task.question(MAIN), task.planned.test
    value = part.values[index]
    right = [value] if isinstance(value, str) else list(value)

    # The text before the question: the introduction, and the times of the images.
    captions = image_captions(task.images.times_s(window).tolist(), task.config.prompts.times)
    before = [introduction(len(paths), task.config.prompts.context)]
    if task.config.prompts.times != "none":
        before += [caption.rstrip(":") for caption in captions]
    codes = [asked.codes[asked.names.index(name)] for name in right]

    return {
        "index": index,
        "images": paths,
        "question": "\n".join([*before, question_text(asked, 0, "line")]),
        "stem": "\n".join([*before, question_text(asked, 0, "line").splitlines()[0]]),
        "several": task.several,
        "codes": list(asked.codes),
        "options": list(asked.shown),
        "answers": [asked.shown[asked.names.index(name)] for name in right],
        "answer": json.dumps(sorted(right)) if task.several else codes[0],
        "source": window.source,
        "case": window.case,
        "video": window.video,
        "start_s": window.start_s,
        "time_s": float(part.times_s[index]),
    }


def _lmms_eval(
    task: VlmTask, folder: Path, name: str, rows: list[dict[str, Any]]
) -> dict[str, str]:
    functions = ("doc_to_visual", "doc_to_text", "process_results")
    texts = [inspect.getsource(getattr(_lmms_eval_functions, each)) for each in functions]
    path = json.dumps(str((folder / "test.jsonl").absolute()))
    return {
        "test.jsonl": "".join(json.dumps(row) + "\n" for row in rows),
        "utils.py": "\n\n".join([*_parser_sources(), *texts]),
        f"{name}.yaml": _TASK.format(
            rows=path, name=name, max_tokens=most_tokens(task.question(MAIN))
        ),
    }


def _parser_sources() -> list[str]:
    """Return the sources of the parser of answers, to run in one file without this package."""
    sources = [inspect.getsource(module) for module in (_options, _statements, _answers)]
    return [re.sub(r"^from surgrec\..*\n", "", text, flags=re.MULTILINE) for text in sources]


def _tsv(name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return a table with one column per option, or with the options in the question."""
    letters = list(string.ascii_uppercase)
    has_columns = bool(rows) and not rows[0]["several"] and len(rows[0]["codes"]) <= len(letters)
    file = io.StringIO()
    writer: Any = None

    for row in rows:
        options = dict(zip(row["codes"], row["options"], strict=True)) if has_columns else {}
        paths = row["images"]

        found = {
            "index": row["index"],
            "image_path": paths[0] if len(paths) == 1 else str(paths),
            "question": row["stem"] if has_columns else row["question"],
            **options,
            "answer": row["answer"],
            "category": row["case"],
            **{key: row[key] for key in ("source", "video", "start_s", "time_s")},
        }

        # All rows have the columns of the first.
        if writer is None:
            writer = csv.DictWriter(file, found.keys(), delimiter="\t", lineterminator="\n")
            writer.writeheader()
        writer.writerow(found)
    return {f"{name}.tsv": file.getvalue()}
