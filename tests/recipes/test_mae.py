"""The MAE recipe as a user starts it: two real processes, killed and resumed; and its configs."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from surgrec.masks import tube_masks
from surgrec.models import encoder_provenance, read_encoder
from surgrec.runs import read_rows
from tests.support.documents import parse_config
from tests.support.processes import ROOT, finish, kill_all, load_recipe, recipe, start, until

STEPS, SAVE_EVERY = 16, 6
FAST = [
    "--steps",
    STEPS,
    "--save_every",
    SAVE_EVERY,
    "--log.every",
    2,
    "--log.samples",
    "true",
    "--global_batch",
    4,
]


@pytest.fixture(scope="module")
def mae() -> ModuleType:
    """The recipe as a module; only a test may import one."""
    return load_recipe("mae")


@pytest.mark.slow
def test_a_killed_run_resumes_with_bit_identical_losses(tiny_corpus: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    process = start(
        recipe("mae", 2, tiny_corpus, killed, *FAST, "--steps", 1000)
    )  # so that it is not done before
    until(process, lambda: len(read_rows(killed / "metrics.jsonl")) > SAVE_EVERY + 1)
    kill_all(process)
    for command in (
        recipe("mae", 2, tiny_corpus, killed, *FAST, "--resume", "true"),
        recipe("mae", 2, tiny_corpus, whole, *FAST),
    ):
        status, errors = finish(command)
        assert status == 0, errors
    assert SAVE_EVERY <= read_rows(killed / "starts.jsonl")[-1]["step"] < STEPS, (
        "it began from a checkpoint"
    )
    samples = read_rows(killed / "samples.jsonl")
    assert len(samples) == STEPS * 4
    assert samples == read_rows(whole / "samples.jsonl")
    assert (killed / "encoder.safetensors").read_bytes() == (
        whole / "encoder.safetensors"
    ).read_bytes()

    provenance = encoder_provenance(whole / "encoder.safetensors")
    assert provenance["step"] == STEPS
    assert sum(provenance["consumed"].values()) == STEPS * 4
    assert read_encoder(whole / "encoder.safetensors").config.positions == "sincos"
    rows = read_rows(whole / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(STEPS))
    assert 0 < rows[-1]["mean_baseline_loss"] < 1
    assert {"token_std", "rankme", "between_clip_variance"} <= rows[-1].keys()


def test_the_full_size_config_has_the_published_values(mae: ModuleType) -> None:
    words = [
        "--config",
        str(ROOT / "recipes/configs/mae_vitb16.yaml"),
        "--corpus",
        "c",
        "--run_dir",
        "r",
    ]
    config = parse_config({"mae": mae}, "mae", words)
    masks = tube_masks(
        config.encoder.grid, config.objective.mask_ratio, seed=config.seed, positions=np.arange(2)
    )
    assert (masks.context_index.shape[1], config.encoder.grid.num_tokens) == (160, 1568)
    assert (config.encoder.width, config.encoder.depth, config.encoder.num_heads) == (768, 12, 12)
    decoder = config.objective.decoder
    assert (decoder.width, decoder.depth, decoder.num_heads) == (384, 4, 6)
    lr, batch = config.optimizer.lr, config.global_batch
    assert (lr.start, lr.value, lr.end, lr.decay) == (
        0.0,
        1.5e-4 * batch / 256,
        1e-5 * batch / 256,
        "cosine",
    )
    assert (lr.end_step, config.optimizer.betas, config.augment.flip) == (
        config.steps,
        (0.9, 0.95),
        0.0,
    )
    assert config.optimizer.weight_decay.value == 0.05


def test_the_published_values_are_the_defaults(mae: ModuleType) -> None:
    words = [
        "--config",
        str(ROOT / "recipes/configs/mae_vitb16.yaml"),
        "--corpus",
        "c",
        "--run_dir",
        "r",
    ]
    config = parse_config({"mae": mae}, "mae", words)
    default = mae.MaeConfig(run_dir=config.run_dir, corpus="c", encoder=config.encoder)
    for name in (
        "augment",
        "objective",
        "optimizer",
        "sampling_fps",
        "global_batch",
        "steps",
        "seed",
        "precision",
    ):
        assert getattr(config, name) == getattr(default, name), name
