"""Train a small JEPA that is healthy or collapses, and print its alarms with their steps."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from surgrec.cli import parse
from surgrec.recipes import jepa
from surgrec.runs import read_watched
from surgrec.runs.alarms import find_alarms, kept_rows
from surgrec.training import run_recipe

SMALL = [
    *("--encoder.width", "48", "--encoder.depth", "2", "--encoder.crop_px", "32"),
    *("--encoder.num_frames", "4", "--objective.predictor.width", "24"),
    *("--objective.predictor.depth", "1", "--global_batch", "8", "--save_every", "1000"),
]


@dataclass(frozen=True, kw_only=True)
class Training:
    """One run."""

    corpus: str
    """Root of a corpus, such as one of the phantom."""
    run_dir: Path
    """Folder of the run."""
    kind: Literal["healthy", "collapse"] = "healthy"
    """Whether gradients reach the target encoder, which makes it collapse."""
    steps: int = 1000
    """Steps of the run."""
    seed: int = 239
    """Seed of the run: its weights, order and masks."""


def main(training: Training) -> None:
    """Train, then look for alarms at every tenth step."""
    if training.kind == "collapse":
        # The target encoder is the context encoder itself, with gradients.
        jepa.ema_copy = lambda module: module
        jepa.update_ema = lambda *arguments: None
        jepa.target_features = jepa.target_features.__wrapped__

    words = ["--config", "jepa_tiny", "--corpus", training.corpus, "--steps", str(training.steps)]
    words += ["--run_dir", str(training.run_dir), "--seed", str(training.seed), *SMALL]
    sys.argv = ["jepa.py", *words]
    try:
        run_recipe(str(jepa.__file__), jepa.JepaConfig, jepa.main)
    except SystemExit as ended:
        if ended.code:
            raise

    rows, found = read_watched(training.run_dir).metrics, {}
    for end in range(10, len(rows) + 1, 10):
        for alarm in find_alarms(kept_rows(rows[:end])):
            found.setdefault(alarm.kind, alarm)
    for alarm in found.values():
        print(f"step {alarm.step}: {alarm.kind}: {alarm.text}")
    print(f"{len(found)} kinds of alarm in {len(rows)} steps")


if __name__ == "__main__":
    main(parse(Training, sys.argv[1:]))
