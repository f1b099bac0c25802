"""Train a small model that is healthy or collapses, and print its alarms and its margin to them."""

import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surgrec.cli import parse
from surgrec.recipes import jepa, mae
from surgrec.runs import read_watched
from surgrec.runs.alarms import COLLAPSE_SHARE, find_alarms, kept_rows
from surgrec.training import run_recipe

SMALL = [
    *("--encoder.width", "48", "--encoder.depth", "2", "--encoder.crop_px", "32"),
    *("--encoder.num_frames", "4", "--global_batch", "8"),
]
SMALL_PREDICTOR = ["--objective.predictor.width", "24", "--objective.predictor.depth", "1"]
METHODS = {
    "jepa": (["--config", "jepa_tiny"], [*SMALL, *SMALL_PREDICTOR]),
    "jepa21": (
        [
            *("--config", "jepa_tiny", "--encoder.rope", "interleaved"),
            *("--encoder.rope_side", "16", "--encoder.modality_embedding", "true"),
            *("--objective.predictor.context_head", "true", "--encoder.levels"),
        ],
        [*SMALL, *SMALL_PREDICTOR],
    ),
    "mae": (
        ["--config", "mae_tiny"],
        [*SMALL, "--objective.decoder.width", "24", "--objective.decoder.depth", "1"],
    ),
}
"""Options of each method, and those that make it smaller."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One run."""

    corpus: str
    """Root of a corpus, such as one of the phantom."""
    run_dir: Path
    """Folder of the run."""
    method: Literal["jepa", "jepa21", "mae"] = "jepa"
    """V-JEPA 2, V-JEPA 2.1 or VideoMAE, as in the tiny config of its recipe."""
    kind: Literal["healthy", "collapse"] = "healthy"
    """Whether gradients reach the target encoder, which makes a JEPA collapse."""
    small: bool = True
    """Whether the networks are smaller than those of the config, for a run of few minutes."""
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

    words, smaller = METHODS[training.method]
    if training.method == "jepa21":
        depth = "[0, 1]" if training.small else "[0, 1, 2, 3]"
        context = {"warmup_start": training.steps // 6, "warmup_end": training.steps // 3}
        words = [*words, depth, "--objective.context", str({"weight": 0.5, **context})]
    words = [*words, *smaller] if training.small else words
    words += ["--steps", str(training.steps), "--corpus", training.corpus]
    words += ["--save_every", "1000", "--seed", str(training.seed)]
    sys.argv = ["recipe.py", *words, "--run_dir", str(training.run_dir)]
    try:
        if training.method == "mae":
            run_recipe(str(mae.__file__), mae.MaeConfig, mae.main)
        else:
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
    print_margins(rows)


def print_margins(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print how far the signs of collapse fell, and the loss beside its baselines."""
    for name in ("token_std", "rankme"):
        values = [row[name] for row in rows if name in row]
        medians = [statistics.median(values[i : i + 3]) for i in range(len(values) - 2)]
        shares = [median / max(medians[: i + 1]) for i, median in enumerate(medians)]
        print(
            f"{name}: from {values[0]:.3g} to {values[-1]:.3g}; the median of three falls to no "
            f"less than {min(shares, default=1):.2f} of its highest (alarm: {COLLAPSE_SHARE})"
        )
    for name in ("loss", "mean_baseline_loss", "copy_baseline_loss"):
        values = [row[name] for row in rows[-100:] if name in row]
        print(f"{name}: {statistics.median(values):.4f} in the last 100 steps")


if __name__ == "__main__":
    main(parse(Training, sys.argv[1:]))
