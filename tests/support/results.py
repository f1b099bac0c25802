"""Result folders as `surgrec evaluate` writes them, from made-up predictions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

CLASSES = ["access", "closure", "dissection"]
WINDOWS = 40
"""Windows of each case, with the default frames."""
_VIDEO_S = 43


def write_result(
    folder: Path,
    *,
    skill: float = 0.7,
    cases: int = 12,
    seed: int = 0,
    constant: bool = False,
    probabilities: bool = False,
    frames: int = 16,
    fps: float = 4.0,
    names: dict[str, str] | None = None,
    prefix: str = "",
    columns: dict[str, Any] | None = None,
    **changes: Any,
) -> Path:
    """Write `evaluation.json` and `predictions.parquet`, and return the folder.

    Args:
        folder: Folder to create.
        skill: Share of windows that the trained features predict by design; others are random.
        cases: Test cases.
        seed: Seed of the predictions. Labels are the same for all seeds.
        constant: Whether the trained features predict one class.
        probabilities: Whether predictions have probabilities.
        frames: Frames of a window; its label is that of the last one.
        fps: Frames per second.
        names: New names of classifiers in the predictions.
        prefix: Beginning of the names of cases and videos.
        columns: Columns of the predictions to replace; None removes one.
        changes: Fields of `evaluation.json` to replace; None removes one.
    """
    folder.mkdir(parents=True)
    phases = np.sort(np.random.default_rng(7).integers(0, 3, (cases, WINDOWS)), axis=1)
    start_s = np.arange(0.0, _VIDEO_S - frames / fps + 1e-6)
    time_s = start_s + (frames - 1) / fps
    label = phases[:, np.clip(time_s - 3, 0, WINDOWS - 1).astype(int)].ravel()
    times = {"start_s": start_s, "end_s": start_s + frames / fps, "time_s": time_s}
    rng = np.random.default_rng(seed)

    def guess(share: float) -> np.ndarray:
        return np.where(rng.random(len(label)) < share, label, rng.integers(0, 3, len(label)))

    trained = np.zeros_like(label) if constant else guess(skill)
    rows = [("trained", "knn", 0, trained), ("trained", "logistic", 0, guess(skill))]
    chance = np.random.default_rng(99)
    rows += [("random", "knn", k, chance.integers(0, 3, len(label))) for k in range(3)]
    rows += [("none", "majority", 0, np.full(len(label), 1))]
    names = names or {}
    rows = [(row[0], names.get(row[1], row[1]), *row[2:]) for row in rows]
    table = pa.concat_tables(
        _table(*row, label, times, probabilities=probabilities and row[0] != "none") for row in rows
    )
    for column in ("case", "video") if prefix else ():
        index = table.column_names.index(column)
        renamed = [f"{prefix}{name}" for name in table.column(column).to_pylist()]
        table = table.set_column(index, column, pa.array(renamed))
    for name, values in (columns or {}).items():
        index = table.column_names.index(name)
        table = table.remove_column(index)
        if values is not None:
            table = table.add_column(index, name, values)
    parquet.write_table(table, folder / "predictions.parquet")

    content = {
        "format": 2,
        "kind": "classes",
        "encoder": {"name": folder.name, "sha256": f"{folder.name} {seed}"},
        "task": "phase",
        "split": {"name": "official", "sha256": "cd" * 32, "rule": {}},
        "protocol": f"the protocol of {folder.name}",
        "corpus": {"digests": {"alpha": "ef" * 32}},
        "classes": [{"value": name, "train": 10 + n, "test": 5} for n, name in enumerate(CLASSES)],
        "overrides": [],
        "classifiers": {
            "knn": "kNN",
            "logistic": "logistic regression",
            "majority": "majority",
            "prior": "class prior",
        },
        "verdicts": [
            {"classifier": "knn", "primary": True},
            {"classifier": "logistic", "primary": False},
        ],
        **changes,
    }
    text = json.dumps({key: value for key, value in content.items() if value is not None})
    (folder / "evaluation.json").write_text(text, encoding="utf-8")
    return folder


def _table(
    features: str,
    classifier: str,
    seed: int,
    predicted: np.ndarray,
    label: np.ndarray,
    times: dict[str, np.ndarray],
    *,
    probabilities: bool,
) -> pa.Table:
    count = len(label)
    windows = len(times["time_s"])
    case = np.arange(count) // windows
    rows = np.full((count, 3), 0.1)
    rows[np.arange(count), predicted] = 0.8
    kind = pa.list_(pa.float32())
    return pa.table(
        {
            "features": [features] * count,
            "seed": pa.array([seed] * count, pa.int64()),
            "classifier": [classifier] * count,
            "head_seed": pa.array([0] * count, pa.int64()),
            "source": ["alpha"] * count,
            "case": [f"case{index:02d}" for index in case],
            "video": [f"video{index:02d}" for index in case],
            **{name: np.tile(values, count // windows) for name, values in times.items()},
            "label": [CLASSES[index] for index in label],
            "prediction": [CLASSES[index] for index in predicted],
            "probability": pa.array(list(rows), kind) if probabilities else pa.nulls(count, kind),
        }
    )
