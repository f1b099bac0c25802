"""Recipes on labeled windows as a user starts them, on the tiny corpus."""

import json
import sys
from pathlib import Path
from typing import Any

import torch

from surgrec.models import Encoder, save_encoder
from tests.support.evaluations import TINY, write_labels
from tests.support.processes import ROOT, finish

SPLIT = "name: sources\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n"
FILES = ("evaluation.json", "predictions.parquet", "cases.parquet")

BASELINES = [
    ("pixels", "knn"),
    ("pixels", "logistic"),
    ("none", "majority"),
    ("none", "prior"),
    ("none", "elapsed_time"),
]
"""Features and classifier of the rows beside those of the encoder and of random weights."""


class LabeledRuns:
    """A labeled corpus and an encoder, and the commands of a recipe on them.

    Args:
        recipe: Name of the recipe.
        folder: Folder for the encoder and the results.
        corpus: Copy of the tiny corpus, which gets labels.
        options: Options of every command.
    """

    def __init__(self, recipe: str, folder: Path, corpus: Path, *options: object) -> None:
        self.folder = folder
        self._recipe, self._corpus, self._options = recipe, corpus, options
        write_labels(corpus)
        self._encoder = folder / "run"
        self._encoder.mkdir()
        torch.manual_seed(0)
        record = {"config": {"sampling_fps": 4.0}, "init_from": None}
        save_encoder(Encoder(TINY), self._encoder / "encoder.safetensors", record)

    def command(
        self, out: str, *options: object, processes: int = 1, split: str = SPLIT
    ) -> list[str]:
        """Return a command; later options win."""
        path = self.folder / f"{out}.yaml"
        path.write_text(split, encoding="utf-8")
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", processes]
        words = [
            *(launcher if processes > 1 else []),
            ROOT / f"recipes/{self._recipe}.py",
            *("--config", f"{self._recipe}_tiny", "--corpus", self._corpus),
            *("--encoder", self._encoder, "--task", "phase", "--split", path),
            *("--out", self.folder / out, "--allow_unknown_pretraining", "true"),
            *("--save_every", 2, *self._options, *options),
        ]
        return [sys.executable, *map(str, words)]

    def run(self, out: str, *options: object, processes: int = 1, split: str = SPLIT) -> Path:
        """Run a command to its end and return its folder."""
        status, errors = finish(self.command(out, *options, processes=processes, split=split))
        assert status == 0, errors
        return self.folder / out


def content(out: Path) -> dict[str, bytes]:
    """Return the files of the results."""
    return {name: (out / name).read_bytes() for name in FILES}


def record_of(out: Path) -> dict[str, Any]:
    """Return the content of `evaluation.json`."""
    record: dict[str, Any] = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    return record


def baselines(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Return features and classifier of all rows that need no encoder, in their order."""
    rows = [(row["features"], row["classifier"]) for row in record["scores"]]
    return [row for row in rows if row[0] not in ("trained", "random")]
