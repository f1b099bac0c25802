"""fp16 where bf16 is missing, with a loss scale that follows the gradients."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from surgrec.runs import read_rows
from surgrec.training import OptimizerConfig, build_optimizer, clip_gradients
from surgrec.training import _run as run_module
from surgrec.training._loss_scale import LossScale, RunPrecision, usable_precision
from surgrec.training._optimizer import skip_unless_finite
from tests.support.in_process import train


@pytest.mark.parametrize(
    ("asked", "capability", "used"),
    [
        ("bf16", (7, 0), "fp16"),  # V100
        ("bf16", (7, 5), "fp16"),  # T4
        ("bf16", (8, 0), "bf16"),  # A100
        ("bf16", (9, 0), "bf16"),  # H100
        ("bf16", None, "bf16"),  # CPU
        ("no", (7, 0), "no"),
        ("fp16", (9, 0), "fp16"),
    ],
)
def test_fp16_replaces_bf16_on_gpus_without_it(
    asked: RunPrecision, capability: tuple[int, int] | None, used: str
) -> None:
    assert usable_precision(asked, capability) == used


def test_the_scale_halves_after_a_skipped_step_and_doubles_after_2000() -> None:
    scale, yes, no = LossScale(), torch.tensor(1.0), torch.tensor(0.0)
    for _ in range(1999):
        scale.update(yes)
    scale.update(no)
    assert float(scale.scale) == 2.0**11
    for _ in range(1999):
        scale.update(yes)
    assert float(scale.scale) == 2.0**11
    scale.update(yes)
    assert float(scale.scale) == 2.0**12
    scale.update(yes)
    assert float(scale.scale) == 2.0**12


def test_a_scaled_step_is_the_step_of_the_plain_loss() -> None:
    torch.manual_seed(0)
    config, clips = OptimizerConfig(grad_clip=0.1), torch.randn(5, 8)
    weights = {}
    for scaled in (False, True):
        torch.manual_seed(1)
        module, scale = nn.Linear(8, 4), LossScale()
        optimizer = build_optimizer(module, config)
        loss = module(clips).square().mean()
        (loss * scale.scale if scaled else loss).backward()
        if scaled:
            scale.unscale(module)
        skip_unless_finite(optimizer, clip_gradients(module, config, step=0))
        optimizer.step()
        weights[scaled] = module.weight.detach()
    assert torch.equal(weights[True], weights[False])  # powers of 2 do not round


def steps(run_dir: Path) -> list[dict[str, float]]:
    return read_rows(run_dir / "metrics.jsonl")


FLAT = [*("--optimizer.lr", "{value: 1.0e-3, start: null, warmup_steps: 0}"), "--steps", 6]


STILL = ["--optimizer.lr", "{value: 0.0, start: null, warmup_steps: 0}", "--steps", 6]
"""Weights do not move, so a skipped step changes no later one."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mae", "jepa"])
def test_a_run_in_fp16_has_nearly_the_losses_and_gradients_of_float32(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    for precision in ("no", "fp16"):
        train(name, tiny_corpus, tmp_path / precision, *STILL, "--precision", precision)
    exact, rounded = steps(tmp_path / "no"), steps(tmp_path / "fp16")
    applied = [
        (one, other) for one, other in zip(exact, rounded, strict=True) if not other["skipped"]
    ]
    assert len(applied) >= 1
    for one, other in applied:
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-2)
        assert other["loss"] != one["loss"]
        assert other["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=2e-2)
    scale = load_file(tmp_path / "fp16/checkpoints/step-00000006/loss_scale.safetensors")["scale"]
    assert float(scale) == 2.0 ** (12 - 6 + len(applied))


@pytest.mark.slow
def test_a_resumed_run_in_fp16_has_the_losses_of_one_that_was_not_stopped(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    options = [*FLAT, "--precision", "fp16", "--save_every", 3]
    train("mae", tiny_corpus, tmp_path / "whole", *options)
    train("mae", tiny_corpus, tmp_path / "parts", *options, "--steps", 3)
    train("mae", tiny_corpus, tmp_path / "parts", *options, "--resume", "true")
    whole, parts = steps(tmp_path / "whole"), steps(tmp_path / "parts")
    assert [row["loss"] for row in parts] == [row["loss"] for row in whole]


@pytest.mark.slow
def test_a_run_on_an_old_gpu_says_that_it_computes_in_fp16(
    tiny_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(run_module, "cuda_capability", lambda: (7, 0))
    train("mae", tiny_corpus, tmp_path / "run", "--steps", 1, "--precision", "bf16")
    shown = capsys.readouterr()
    sentence = "this GPU has no bf16: the run computes in fp16, and scales the loss"
    assert sentence in " ".join((shown.out + shown.err).split())
    assert "precision: fp16" in (tmp_path / "run/config.yaml").read_text(encoding="utf-8")
