"""The results of a model: predictions as in any evaluation, and the stability of its answers."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from surgrec.evaluation.tasks import Check, LabeledWindows, Prediction, Results, write_results
from surgrec.scores import GroundTruth, count_predictions
from surgrec.storage import open_store
from surgrec.text import counted
from surgrec.vlms._constraints import Mode, form_of
from surgrec.vlms._job import ModelRecord
from surgrec.vlms._prompts import MAIN, Condition, question_text
from surgrec.vlms._readings import Reading, Readings, Value, classes_of, sets_of
from surgrec.vlms._task import VlmTask

FORMAT = 1
VLM_FILE = "vlm.json"
ANSWERS = "answers"
"""Name of the scored answers among classifiers, and beginning of the names of controls."""

_LABELS = {
    "main": "answers",
    "no_image": "answers without images",
    "other_case": "answers to images of another case",
}
"""Name in text of each condition that is scored."""
_CONTROLS = {
    "no_image": "the same prompt without images",
    "other_case": "the same prompt with the images of a window of another case",
}
_CONSTRAINTS: dict[Mode, str] = {
    "structured": "tokens restricted to the form of an answer",
    "json_schema": "JSON that follows a schema (response_format json_schema)",
    "json_object": "any JSON (response_format json_object)",
    "text": "no constraint but the words of the prompt",
}
_CUT = "length"
"""Reason of the end of an answer that was cut."""


def write_answers(
    task: VlmTask, readings: Readings, model: ModelRecord
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Score the answers of a model, and write all files of its evaluation.

    Args:
        task: The task.
        readings: The answers.
        model: The model that gave them.

    Returns:
        The contents of `evaluation.json` and of `vlm.json`.
    """
    stability = _stability(task, readings, model)
    main = readings.scored[0]

    results = Results(
        predictions=[_prediction(task, each, readings.windows) for each in readings.scored],
        classifiers={
            _classifier(each.condition): _LABELS[each.condition.name] for each in readings.scored
        },
        primary=ANSWERS,
        methods=_methods(task, readings.mode),
        checks=[
            Check(
                check="test windows whose answer cannot be read, which is wrong",
                found=main.unread,
                of=len(main.values),
            )
        ],
        controls=[_classifier(each.condition) for each in readings.scored[1:]],
    )

    record = write_results(task.audited, readings.windows, results, task.config.out)
    text = json.dumps(stability, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    open_store(task.config.out).write(VLM_FILE, text.encode("utf-8"))
    return record, stability


def _prediction(task: VlmTask, reading: Reading, windows: LabeledWindows) -> Prediction:
    name = _classifier(reading.condition)
    if task.several:
        probability = sets_of(reading, windows).astype(np.float32)
        return Prediction(features="trained", classifier=name, probability=probability)
    label = classes_of(reading, windows)
    return Prediction(features="trained", classifier=name, label=label)


def _classifier(condition: Condition) -> str:
    return ANSWERS if condition == MAIN else f"{ANSWERS}_{condition.name}"


def _methods(task: VlmTask, mode: Mode) -> list[str]:
    """Return the parts of the protocol about the model and its prompts."""
    windows, prompts = task.config.windows, task.config.prompts

    times = {
        "window": "seconds before the last image",
        "video": "times of the video",
        "none": "no times",
    }[prompts.times]
    sampling = task.audited.sampling

    parts = [
        f"vision-language model {task.config.model.name}, without training on the task",
        f"{counted(prompts.frames, 'image')} of at most {prompts.image_px} px from a window of "
        f"{sampling.num_frames} frames at {sampling.fps:g} frames per second "
        f"({sampling.span_s:g} s), evenly spaced up to the last frame, central square, with "
        f"{times}; a window every {windows.stride_s:g} s of a video",
        f"temperature 0; answers: {_CONSTRAINTS[mode]}; an answer that cannot be read is wrong",
        f"options: all {len(task.planned.classes)} classes of the split, in the order of names",
    ]
    if task.several:
        parts.append(
            "one boolean for each class in one answer, scored as a probability of 0 or 1, so that "
            f"average precision ranks with ties; {VLM_FILE} has F1"
        )
    parts += [f"control {each.name}: {_CONTROLS[each.name]}" for each in task.controls]
    return parts


def _stability(task: VlmTask, readings: Readings, model: ModelRecord) -> dict[str, Any]:
    """Return the content of `vlm.json`."""
    main = readings.scored[0]

    prompts = asdict(task.config.prompts)
    return {
        "format": FORMAT,
        "model": task.config.model.name,
        "identity": task.audited.encoder["identity"],
        "endpoints": model.get("endpoints", []),
        "mode": readings.mode,
        "trials": model.get("trials", {}),
        "prompts": {**prompts, "controls": list(prompts["controls"])},
        "questions": [
            question_text(task.question(MAIN), wording, form_of(readings.mode, task.several))
            for wording in range(task.config.prompts.wordings)
        ],
        "conditions": [
            _condition_row(task, each, readings.windows)
            for each in (*readings.scored, *readings.variations)
        ],
        "variations": _variation_rows(task, main, readings),
    }


def _condition_row(task: VlmTask, reading: Reading, windows: LabeledWindows) -> dict[str, Any]:
    """Return the counts and the scores of the answers of a condition."""
    number = len(reading.values)
    return {
        "name": reading.condition.name,
        "windows": number,
        "unread": reading.unread,
        "unread_rate": reading.unread / number if number else None,
        "cut": sum(finish == _CUT for finish in reading.finish),
        **_scores(task, reading, windows),
    }


def _variation_rows(task: VlmTask, main: Reading, readings: Readings) -> dict[str, Any] | None:
    """Return the flip rates and the spread of scores over wordings and orders; None without any."""
    variations = readings.variations
    if not variations or not len(variations[0].rows):
        return None
    rows = variations[0].rows
    kept = Reading(
        condition=MAIN,
        values=[main.values[row] for row in rows.tolist()],
        rows=rows,
        finish=[main.finish[row] for row in rows.tolist()],
    )
    flips = np.array([_flips(kept.values, each.values) for each in variations])
    kinds = {
        "wording": [each.condition.order == 0 for each in variations],
        "order": [each.condition.wording == 0 for each in variations],
    }
    scores = [_scores(task, each, readings.windows) for each in (kept, *variations)]
    return {
        "windows": len(rows),
        "variations": len(variations),
        # Over pairs of a window and a variation: the answer is not that of the main condition.
        "flip_rate": float(flips.mean()),
        **{
            f"{kind}_flip_rate": float(flips[np.array(chosen)].mean()) if any(chosen) else None
            for kind, chosen in kinds.items()
        },
        # Over windows: some variation has another answer.
        "windows_with_a_flip": float(flips.any(0).mean()),
        "scores": {
            name: {
                "mean": float(np.mean([each[name] for each in scores])),
                "lowest": min(each[name] for each in scores),
                "highest": max(each[name] for each in scores),
            }
            for name in scores[0]
        },
    }


def _flips(first: Sequence[Value], second: Sequence[Value]) -> list[bool]:
    return [one != other for one, other in zip(first, second, strict=True)]


def _scores(task: VlmTask, reading: Reading, windows: LabeledWindows) -> dict[str, float]:
    """Return the scores of some windows as if they were of one case."""
    if not len(reading.rows):
        return {}
    return _set_scores(reading, windows) if task.several else _class_scores(reading, windows)


def _class_scores(reading: Reading, windows: LabeledWindows) -> dict[str, float]:
    label = windows.labels_of(windows.test)[reading.rows]
    truth = GroundTruth(
        case=np.zeros(len(label), dtype=np.int64),
        label=label,
        num_cases=1,
        num_classes=len(windows.classes),
    )
    found = count_predictions(truth, classes_of(reading, windows)).scores(np.ones((1, 1)))
    return {name: float(found[name][0]) for name in ("accuracy", "macro_f1")}


def _set_scores(reading: Reading, windows: LabeledWindows) -> dict[str, float]:
    label = windows.sets_of(windows.test)[reading.rows]
    found = sets_of(reading, windows)
    correct, errors = (label & found).sum(0), (label ^ found).sum(0)
    present = label.any(0)
    by_class = 2 * correct / np.maximum(2 * correct + errors, 1)
    return {
        "accuracy": float((label == found).all(1).mean()),
        "macro_f1": float(by_class[present].mean()) if present.any() else 0.0,
        "micro_f1": float(2 * correct.sum() / max(2 * correct.sum() + errors.sum(), 1)),
    }
