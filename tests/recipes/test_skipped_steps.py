"""A step whose loss or gradient is not finite changes nothing, is written down, and is counted."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from surgrec.clips import ClipBatch, to_model_input
from surgrec.errors import CheckpointError, TrainingError
from surgrec.models import encoder_provenance
from surgrec.objectives import target_features
from surgrec.runs import read_rows
from tests.support.in_process import train
from tests.support.processes import ROOT, finish, recipe

BAD_STEP = 2
STEADY = ("--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}")
EVERY_STEP = ("--save_every", 1, "--keep_checkpoints", 9, "--global_batch", 4)


def poison(monkeypatch: pytest.MonkeyPatch, is_bad: Callable[[ClipBatch], bool]) -> None:
    """Give models infinite pixels in some batches, as an overflow would."""

    def clips_of(batch: ClipBatch, crop_px: int, device: torch.device) -> torch.Tensor:
        clips = to_model_input(batch, crop_px, device)
        return clips * math.inf if is_bad(batch) else clips

    monkeypatch.setattr("surgrec.clips.to_model_input", clips_of)


def poison_targets(monkeypatch: pytest.MonkeyPatch, bad_call: int) -> None:
    """Give a JEPA infinite targets in one forward pass. The gradient of its loss is 0."""
    calls: list[object] = []

    def features_of(*arguments: Any) -> torch.Tensor:
        calls.append(arguments)
        return target_features(*arguments) * (math.inf if len(calls) == bad_call + 1 else 1.0)

    monkeypatch.setattr("surgrec.objectives.target_features", features_of)


def at_steps(*steps: int) -> Callable[[ClipBatch], bool]:
    return lambda batch: int(batch.positions[0]) // 4 in steps


def tensors(run_dir: Path, step: int) -> Iterator[tuple[str, torch.Tensor]]:
    for file in sorted((run_dir / f"checkpoints/step-{step:08d}").glob("*.safetensors")):
        yield from ((f"{file.stem}.{name}", value) for name, value in load_file(file).items())


def changed(run_dir: Path, before: int, after: int) -> set[str]:
    """Return the files of two checkpoints whose tensors differ."""
    pairs = zip(tensors(run_dir, before), tensors(run_dir, after), strict=True)
    return {name.partition(".")[0] for (name, old), (_, new) in pairs if not torch.equal(old, new)}


@pytest.mark.parametrize("name", ["jepa", "mae"])
def test_a_skipped_step_changes_nothing_and_its_samples_are_listed(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    poison(monkeypatch, at_steps(BAD_STEP if name == "mae" else -1))
    poison_targets(monkeypatch, bad_call=2 * BAD_STEP)  # of two parts, the first
    words = (*STEADY, *EVERY_STEP, "--accumulation", 2, "--log.samples", "true", "--steps", 5)
    train(name, tiny_corpus, tmp_path, *words)

    # Nothing moves in the bad step, neither moments nor their count of steps nor the target.
    modules = {"objective", "optimizer", *(["target_encoder"] if name == "jepa" else [])}
    assert changed(tmp_path, BAD_STEP, BAD_STEP + 1) == set()
    assert changed(tmp_path, BAD_STEP + 1, BAD_STEP + 2) == modules
    assert changed(tmp_path, BAD_STEP - 1, BAD_STEP) == modules

    rows = read_rows(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if row["skipped"]] == [BAD_STEP]
    assert not math.isfinite(rows[BAD_STEP]["gradient_norm"])
    assert not math.isfinite(rows[BAD_STEP]["loss"])
    assert all(math.isfinite(row["loss"]) for row in rows if not row["skipped"])
    skipped = read_rows(tmp_path / "skipped.jsonl")
    samples = [row for row in read_rows(tmp_path / "samples.jsonl") if row["step"] == BAD_STEP]
    assert [row["key"] for row in skipped] == [row["key"] for row in samples]
    assert [row["slot"] for row in skipped] == [0, 1, 2, 3]


def test_too_many_skipped_steps_stop_the_run_with_a_way_that_works(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    words = (*STEADY, *EVERY_STEP, "--log.max_skipped_steps", 2, "--steps", 8)
    with monkeypatch.context() as patched:
        poison(patched, at_steps(1, 3, 4, 5, 6, 7))
        # The checkpoint of step 4 is still being written when step 4 is skipped.
        patched.setattr("surgrec.training._checkpoint.check_owned", lambda: time.sleep(0.5))
        with pytest.raises(TrainingError) as stopped:
            train("mae", tiny_corpus, run_dir, *words)
    assert str(stopped.value) == (
        "3 of the last 5 steps were skipped, the first one step 1, because a loss or the gradient "
        "was not finite, more than log.max_skipped_steps 2 allows; remove step-00000002, "
        f"step-00000003, step-00000004 from {run_dir / 'checkpoints'}, and go on from step 1 with "
        "--resume true --resume_with_changes optimizer and a smaller --optimizer.lr.value; the "
        f"samples of these steps are listed in {run_dir / 'skipped.jsonl'}"
    )
    for step in range(1, 5):
        assert all(value.isfinite().all() for _, value in tensors(run_dir, step))

    # A restart counts the skipped steps before it.
    with monkeypatch.context() as patched:
        poison(patched, at_steps(4))
        with pytest.raises(TrainingError, match="3 of the last 5 steps were skipped"):
            train("mae", tiny_corpus, run_dir, *words, "--resume", "true")

    # The way that the sentence names.
    for step in (2, 3, 4):
        for file in (run_dir / f"checkpoints/step-{step:08d}").iterdir():
            file.unlink()
        (run_dir / f"checkpoints/step-{step:08d}").rmdir()
    lower = ("--resume", "true", "--optimizer.lr.value", 1e-4)
    with pytest.raises(CheckpointError) as refused:
        train("mae", tiny_corpus, run_dir, *words, *lower)
    assert "optimizer.lr.value: saved 0.001, now 0.0001; accept the change of the optimizer " + (
        "with --resume_with_changes optimizer, or start in another run_dir"
    ) in str(refused.value)
    train("mae", tiny_corpus, run_dir, *words, *lower, "--resume_with_changes", "optimizer")
    assert read_rows(run_dir / "starts.jsonl")[-1]["tuned"] == [
        "config.optimizer.lr.value: saved 0.001, now 0.0001"
    ]
    assert encoder_provenance(run_dir / "encoder.safetensors")["tuned"][0]["step"] == 1
    assert not any(row["skipped"] for row in read_rows(run_dir / "metrics.jsonl"))
    assert read_rows(run_dir / "skipped.jsonl") == []


INFINITE_TARGETS = """
import os, runpy, sys

import surgrec.objectives as objectives

real, calls = objectives.target_features, []

def target_features(*arguments):
    calls.append(arguments)
    is_bad = len(calls) == {step} + 1 and os.environ["RANK"] == "1"
    return real(*arguments) * (float("inf") if is_bad else 1.0)

objectives.target_features = target_features
sys.argv[0] = {recipe!r}
runpy.run_path({recipe!r}, run_name="__main__")
"""


@pytest.mark.slow
def test_an_infinite_loss_of_one_rank_skips_the_step_on_all(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    """The gradient of such a loss is finite, and only one rank has it."""
    script, run_dir = tmp_path / "jepa.py", tmp_path / "run"
    path = str(ROOT / "recipes/jepa.py")
    script.write_text(INFINITE_TARGETS.format(step=BAD_STEP, recipe=path), encoding="utf-8")
    words = (*STEADY, *EVERY_STEP, "--steps", 5, "--loader.num_workers", 0)
    command = recipe("jepa", 2, tiny_corpus, run_dir, *words)
    status, errors = finish([str(script) if word == path else word for word in command])
    assert status == 0, errors

    assert changed(run_dir, BAD_STEP, BAD_STEP + 1) == set()
    assert changed(run_dir, BAD_STEP + 1, 5) == {"objective", "optimizer", "target_encoder"}
    losses = [row["loss"] for row in read_rows(run_dir / "skipped.jsonl")]
    assert [math.isfinite(loss) for loss in losses] == [True, True, False, False]
    assert [row["step"] for row in read_rows(run_dir / "metrics.jsonl") if row["skipped"]] == [2]
