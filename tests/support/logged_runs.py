"""Write run folders as training does, without training: a short log and random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from surgrec.config_values import as_plain
from surgrec.models import DecoderConfig, Encoder, EncoderConfig, save_encoder
from surgrec.objectives import JepaObjectiveConfig, MaeObjective, MaeObjectiveConfig
from surgrec.runs import append_rows
from surgrec.runs._plan import write_plan
from surgrec.shards import open_corpus
from surgrec.stream import DrawPlan, Mixture, Stream
from surgrec.training import Checkpoints
from surgrec.training._checkpoint import TrainingState

ENCODER = EncoderConfig(
    width=24, depth=1, num_heads=2, patch_size=8, num_frames=4, crop_px=32, positions="sincos"
)
MAE = MaeObjectiveConfig(decoder=DecoderConfig(width=24, depth=1, num_heads=2), mask_ratio=0.75)
ROW = {
    "loss": 0.5,
    "loss_by_source": {"alpha": 0.5},
    "consumed": {"alpha": 6, "gamma": 2},
    "quarantined": {},
    "data_wait_s": 0.02,
    "step_s": 0.2,
    "clips_per_s": 40.0,
    "mfu": None,
}


def make_run(
    run_dir: Path,
    corpus: Path,
    recipe: str | None,
    *,
    values: Mapping[str, Any] | None = None,
    steps: int = 30,
    splits: list[str] | None = None,
    checkpoint: bool = True,
) -> Path:
    """Write a run folder and return its path.

    The realized mixture differs from the planned one. The run was resumed at step 20.

    Args:
        run_dir: Folder to create.
        corpus: Root of the corpus that the run draws from.
        recipe: `jepa` or `mae`; None for a run that has not saved an encoder yet.
        values: Additional values in each row of the log.
        steps: Number of logged steps.
        splits: Stored splits that the run draws from; train by default.
        checkpoint: Whether a run with an encoder has a checkpoint.
    """
    run_dir.mkdir(parents=True)

    # Plan and config, then the logs.
    stream = Stream(open_corpus([corpus]), Mixture(splits=splits or ["train"]), 0)
    write_plan(run_dir, [str(corpus)], DrawPlan.for_positions(stream, 8 * steps))
    (run_dir / "config.yaml").write_text("seed: 239\n", encoding="utf-8")
    starts = [{"step": 0, "processes": 2}, {"step": 20, "processes": 1}]
    append_rows(run_dir / "starts.jsonl", starts)
    rows = [{**ROW, **(values or {}), "step": step} for step in range(steps)]
    append_rows(run_dir / "metrics.jsonl", rows)

    if recipe is not None:
        objective = MAE if recipe == "mae" else JepaObjectiveConfig()
        config = {
            "encoder": as_plain(ENCODER),
            "objective": as_plain(objective),
            "sampling_fps": 4.0,
        }
        provenance = {
            "recipe": recipe,
            "order": stream.identity(),
            "consumed": stream.order.consumed(8 * steps),
            "init_from": None,
            "config": config,
            "step": steps,
        }
        _save(run_dir, provenance, checkpoint=checkpoint)
    return run_dir


def _save(run_dir: Path, provenance: Mapping[str, Any], *, checkpoint: bool) -> None:
    torch.manual_seed(1)
    objective = MaeObjective(Encoder(ENCODER), MAE)
    save_encoder(objective.encoder, run_dir / "encoder.safetensors", provenance)
    if checkpoint:
        optimizer = torch.optim.AdamW(objective.parameters())
        state = TrainingState(
            modules={"objective": objective},
            optimizer=optimizer,
            trained=objective,
            identity=lambda step: {},
        )
        Checkpoints(run_dir, keep=1).save(provenance["step"], state)


def make_evaluation(sha256: str = "another", **changes: Any) -> dict[str, Any]:
    """Return the content of an evaluation.json.

    Trained features are better by kNN. Logistic regression shows no difference.
    """

    def metrics(value: float) -> dict[str, dict[str, float]]:
        names = ("macro_f1", "balanced_accuracy", "accuracy", "case_accuracy")
        return {name: {"value": value, "low": value - 0.05, "high": value + 0.05} for name in names}

    def score(
        features: str, classifier: str, value: float, seeds: int = 1, degenerate: bool = False
    ) -> dict[str, Any]:
        row = {
            "features": features,
            "classifier": classifier,
            "seeds": seeds,
            "degenerate": degenerate,
        }
        return row | {"metrics": metrics(value)}

    def verdict(classifier: str, difference: float, verdict: str) -> dict[str, Any]:
        between = {"low": difference - 0.06, "high": difference + 0.06}
        about = {"classifier": classifier, "metric": "macro_f1", "against": "random", "cases": 24}
        about["primary"] = classifier == "knn"
        return about | {"difference": difference, "verdict": verdict} | between

    return {
        "format": 2,
        "encoder": {"sha256": sha256},
        "task": "phase",
        "kind": "classes",
        "split": {"name": "by-case", "sha256": "ab" * 32, "rule": {"test": {"stored": ["val"]}}},
        "protocol": "a window every second",
        "corpus": {"addresses": ["corpus"], "digests": {"alpha": "cd" * 32}},
        "counts": {
            "train": {"cases": 26, "videos": 27, "windows": 812, "unlabeled": 14, "failed": 1},
            "test": {"cases": 24, "videos": 25, "windows": 644, "unlabeled": 9, "failed": 2},
        },
        "classes": [
            {"value": "access", "train": 300, "test": 244},
            {"value": "closure", "train": 512, "test": 400},
        ],
        "audit": [{"check": "cases in train and test", "found": 0, "of": 50}],
        "overrides": [],
        "classifiers": {
            "knn": "kNN",
            "logistic": "logistic regression",
            "majority": "majority",
        },
        "metrics": ["macro_f1", "balanced_accuracy", "accuracy", "case_accuracy"],
        "primary_metric": "macro_f1",
        "scores": [
            score("trained", "knn", 0.52),
            score("random", "knn", 0.41, seeds=3),
            score("none", "majority", 0.125, degenerate=True),
        ],
        "verdicts": [verdict("knn", 0.11, "better"), verdict("logistic", 0.01, "not shown")],
        **changes,
    }
