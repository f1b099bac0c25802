"""The page of the experiment on pretraining: tables and a picture of the product's comparisons."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from surgrec.errors import SetupError
from surgrec.json_files import read_json
from surgrec.storage import open_store

PRIMARY, SECOND, METRIC = "knn", "logistic", "macro_f1"
COLORS = {"jepa": "#2563ab", "mae": "#c8702a"}
PICTURE = "intervals.svg"
Row = Mapping[str, str]


def write_page(folder: Path, options: Mapping[str, Any], hours: float) -> Path:
    """Write `page.md` and `intervals.svg` from the comparisons and records of an experiment.

    Args:
        folder: The folder of the experiment.
        options: Its options, for the head of the page.
        hours: Processor time of all its stages.
    """
    compared = [path for path in (folder / "comparison").iterdir() if path.is_dir()]
    scores = [row for path in sorted(compared) for row in _rows(path / "scores.csv")]
    pairs = [row for path in sorted(compared) for row in _rows(path / "pairs.csv")]
    scores = [row for row in scores if row["metric"] == METRIC and row["method"]]

    shown = [f"- {name}: {value}" for name, value in options.items() if value and name != "folder"]
    parts = [
        "\n".join([*shown, f"- processor time of all stages: {hours:.1f} h"]),
        f"Macro F1, {PRIMARY} (with {SECOND} regression beside it), 95 % intervals over cases "
        "and seeds:",
        _score_table(scores),
        "Differences of the means over seeds, paired over cases, with intervals over cases and "
        "seeds. Verdicts use intervals over cases and Holm's correction:",
        _pair_table(pairs),
        "Each run against random weights, as `surgrec evaluate` reports it, over cases:",
        _run_table(folder),
    ]
    store = open_store(folder)
    store.write("page.md", ("\n\n".join(parts) + "\n").encode("utf-8"))
    _draw(scores, folder / PICTURE)
    return folder / "page.md"


def _rows(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _number(row: Mapping[str, Any], name: str, sign: str = "", *, seeds: bool = False) -> str:
    """Return a number with its interval over cases, or over cases and seeds."""
    over = "_with_seeds" if seeds else ""
    value, low, high = (float(row[key]) for key in (name, f"low{over}", f"high{over}"))
    return f"{value:{sign}.3f} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _score_table(scores: Sequence[Row]) -> str:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for row in scores:
        if row["features"] == "trained":
            place = cells.setdefault((row["split"], row["method"]), {"cases": row["cases"]})
            place[row["classifier"]] = _number(row, "value", seeds=True)
    lines = [
        f"| {split} | {method} | {cell['cases']} | {cell[PRIMARY]} | {cell[SECOND]} |"
        for (split, method), cell in cells.items()
    ]
    head = f"| domain | encoder | test cases | {PRIMARY} | {SECOND} |\n|---|---|---:|---:|---:|"
    return "\n".join([head, *lines])


def _pair_table(pairs: Sequence[Row]) -> str:
    lines = [
        f"| {row['split']} | {row['first']} - {row['second']} | {row['classifier']} | "
        f"{_number(row, 'difference', '+', seeds=True)} | {float(row['p_holm']):.3f} | "
        f"{row['verdict']} |"
        for row in pairs
        if _is_asked(row["first"], row["second"])
    ]
    head = "| domain | pair | probe | difference | p, corrected | verdict |"
    return "\n".join([head, "|---|---|---|---:|---:|---|", *lines])


def _is_asked(first: str, second: str) -> bool:
    """Whether a pair differs in the method or in the mixture alone, and was trained at all."""
    (method, mixture), (other, second_mixture) = first.split("-"), second.split("-")
    one_differs = (method == other) != (mixture == second_mixture)
    return one_differs and {mixture, second_mixture} != {"untrained"}


def _run_table(folder: Path) -> str:
    lines = []
    for path in sorted((folder / "results").glob("*/all/evaluation.json")):
        found = read_json(path, dict[str, Any], error=SetupError, remedy="evaluate again")
        for row in found["verdicts"]:
            if row["against"] == "random" and "untrained" not in str(path):
                name = path.parent.parent.name
                number = _number(row, "difference", "+")
                lines.append(f"| {name} | {row['classifier']} | {number} | {row['verdict']} |")
    head = "| run | probe | difference from random weights | verdict |"
    return "\n".join([head, "|---|---|---:|---|", *lines])


def _draw(scores: Sequence[Row], path: Path) -> None:
    """Draw score and interval of each encoder, one panel per domain."""
    rows = [row for row in scores if row["features"] == "trained" and row["classifier"] == PRIMARY]
    splits = list(dict.fromkeys(row["split"] for row in rows))
    figure = Figure(figsize=(3.2 * len(splits), 2.6), layout="constrained")
    panels = figure.subplots(1, len(splits), squeeze=False, sharey=True)[0]

    # One panel per split; methods from top to bottom, with one scale for all.
    for panel, split in zip(panels, splits, strict=True):
        for height, row in enumerate(reversed([each for each in rows if each["split"] == split])):
            keys = ("value", "low_with_seeds", "high_with_seeds")
            value, low, high = (float(row[key]) for key in keys)
            color = COLORS[row["method"].split("-")[0]]
            panel.plot([low, high], [height, height], color=color)
            panel.plot(value, height, "o", color=color)
        names = [each["method"] for each in rows if each["split"] == split]
        panel.set_yticks(range(len(names)), reversed(names))
        panel.set_title(split)
        panel.set_xlabel(f"macro F1, {PRIMARY}")

    figure.savefig(path, metadata={"Date": None})
