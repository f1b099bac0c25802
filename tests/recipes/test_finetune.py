"""The fine-tuning recipe as a user starts it: several processes, a kill, the last blocks alone."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from tests.support.labeled_runs import BASELINES, LabeledRuns, baselines, content, record_of
from tests.support.processes import kill_all, start, until


@pytest.fixture
def runs(tmp_path: Path, corpus_copy: Path) -> LabeledRuns:
    return LabeledRuns("finetune", tmp_path, corpus_copy, "--epochs", 3)


def weights_of(out: Path, stage: str) -> dict[str, torch.Tensor]:
    (folder,) = (out / stage / "checkpoints").glob("step-*")
    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_a_killed_finetuning_resumes_with_the_same_bits(runs: LabeledRuns) -> None:
    two = runs.run("two", processes=2)
    folder = runs.folder / "killed/trained-seed-0/checkpoints"
    process = start(runs.command("killed", processes=2))
    until(process, lambda: any(folder.glob("step-*")))
    kill_all(process)
    killed = runs.run("killed", "--resume", "true", processes=2)
    assert content(killed) == content(two)
    for stage in ("trained-seed-0", "random-0-seed-0"):
        first, second = weights_of(two, stage), weights_of(killed, stage)
        assert all(torch.equal(first[name], second[name]) for name in first)

    # DDP adds the gradients of one process and of two in another order.
    alone = weights_of(runs.run("alone"), "trained-seed-0")
    for name, value in weights_of(two, "trained-seed-0").items():
        torch.testing.assert_close(value, alone[name], atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_finetuning_of_a_head_with_two_seeds_is_averaged(runs: LabeledRuns) -> None:
    out = runs.run("seeds", "--seeds", "[0, 1]", "--last_blocks", 1, "--random_seeds", "[]")
    record = record_of(out)
    rows = [(row["features"], row["classifier"], row["seeds"]) for row in record["scores"]]
    assert rows[0] == ("trained", "finetuned", 2)
    assert "fine-tuning of the last 1 blocks" in record["protocol"]
    assert baselines(record) == BASELINES
    assert "64 principal components" in record["protocol"]
    first, second = (weights_of(out, f"trained-seed-{seed}") for seed in (0, 1))
    embedding = "network.patch_embed.proj.weight"
    assert torch.equal(first[embedding], second[embedding]), "it is not trained"


@pytest.mark.slow
def test_weights_that_do_not_enter_the_tokens_stay_on_two_processes(runs: LabeledRuns) -> None:
    model = timm.create_model(
        "convnext_atto", num_classes=0, depths=[1, 1, 1, 1], dims=[8, 16, 24, 32]
    )
    weights, preset = runs.folder / "weights.safetensors", runs.folder / "tiny_convnext.yaml"
    save_file(model.state_dict(), weights)
    preset.write_text(
        "base: convnext_large_in22k\nmodel: convnext_atto\nnum_frames: 2\nfps: 4\n"
        "arguments: {depths: [1, 1, 1, 1], dims: [8, 16, 24, 32]}\n"
        "preprocessing: {size_px: 32}\n",
        encoding="utf-8",
    )
    options = ("--encoder", preset, "--weights", weights, "--random_seeds", "[]", "--epochs", 1)
    out = runs.run("convnext", *options, processes=2)
    trained = weights_of(out, "trained-seed-0")
    changed = {
        name
        for name, before in model.state_dict().items()
        if not torch.equal(trained[f"network.model.{name}"], before)
    }
    unused = {"head.norm.weight", "head.norm.bias"}
    assert changed == model.state_dict().keys() - unused
