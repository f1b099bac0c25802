"""Functions of an exported task of lmms-eval; `_export.py` writes their text beside the task.

The text of `_answers.py` stands before it, so that the task needs no SurgRec where it runs.
"""

from typing import Any

from surgrec.vlms._answers import parse_booleans, parse_choice


def doc_to_visual(doc: dict[str, Any]) -> list[Any]:
    """Return the images of a window."""
    from PIL import Image

    return [Image.open(path).convert("RGB") for path in doc["images"]]


def doc_to_text(doc: dict[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """Return the question."""
    return str(doc["question"])


def process_results(doc: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Return whether an answer is right, and whether it cannot be read."""
    names, right = list(doc["options"]), list(doc["answers"])
    if doc["several"]:
        present = parse_booleans(results[0], names)
        found = None if present is None else [n for n, p in zip(names, present, strict=True) if p]
    else:
        index = parse_choice(results[0], list(doc["codes"]), names)
        found = None if index is None else [names[index]]
    is_right = found is not None and sorted(found) == sorted(right)
    return {"accuracy": float(is_right), "unread": float(found is None)}
