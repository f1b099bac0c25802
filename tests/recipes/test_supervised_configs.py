"""The configs of recipes on labeled windows: they parse, and have the published values."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from surgrec.models.classifier import Classifier, PoolerConfig
from surgrec.supervised import FinetuneConfig, SupervisedConfig, TokenProbeConfig, head_settings
from surgrec.training import parse_recipe, schedule_value
from tests.support.documents import documented_commands
from tests.support.processes import ROOT

RECIPES = {"probe": TokenProbeConfig, "finetune": FinetuneConfig}
FILES = {
    path.stem: path for name in RECIPES for path in (ROOT / "recipes/configs" / name).glob("*.yaml")
}
DOCUMENTS = [ROOT / "docs/probing.md", ROOT / "docs/fine-tuning.md"]
REQUIRED = ["--corpus", "c", "--encoder", "e", "--task", "phase", "--split", "s", "--out", "o"]


def parsed(recipe: str, *words: str) -> Any:
    config_type: type[SupervisedConfig] = RECIPES[recipe]
    return parse_recipe(str(ROOT / f"recipes/{recipe}.py"), config_type, [*words, *REQUIRED])


@pytest.mark.parametrize("path", [*sorted(FILES.values()), *DOCUMENTS], ids=lambda path: path.stem)
def test_the_recipes_accept_every_documented_command(path: Path) -> None:
    commands = documented_commands(path.read_text(encoding="utf-8"), "probe|finetune")
    assert commands
    for recipe, words in commands:
        assert parsed(recipe, *words)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_config_says_what_it_is_and_where_it_comes_from(name: str) -> None:
    lines = FILES[name].read_text(encoding="utf-8").splitlines()
    comment = " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))
    assert f"--config {name}" in comment
    assert "Hardware: " in comment
    assert "Cost" in comment
    assert "tiny" in name or re.search("Source: .*Deviations: ", comment)


def test_the_probe_of_vjepa2_has_its_published_values() -> None:
    config = parsed("probe", "--config", "probe_vjepa2")
    assert (config.pooler.kind, config.pooler.num_heads) == ("vjepa2", 16)
    assert config.grid.lr == (5e-3, 3e-3, 1e-3, 3e-4, 1e-4)
    assert "--grid.seeds '[0]' --grid.weight_decay '[0.01, 0.1, 0.4, 0.8]'" in _text(
        FILES["probe_vjepa2"]
    )
    words = ["--grid.seeds", "[0]", "--grid.weight_decay", "[0.01, 0.1, 0.4, 0.8]"]
    assert len(head_settings(parsed("probe", "--config", "probe_vjepa2", *words).grid, 0)) == 20
    assert (config.epochs, config.global_batch, config.num_steps(2560)) == (20, 256, 200)


def test_the_memory_of_vjepa2s_heads_is_that_of_its_documents() -> None:
    with torch.device("meta"):
        head = Classifier(PoolerConfig(), width=1024, num_classes=7)
    parameters = sum(each.numel() for each in head.parameters())
    assert f"{parameters / 1e6:.0f} M parameters" in _text(FILES["probe_vjepa2"])
    assert f"{parameters / 1e6:.0f} M parameters" in _text(DOCUMENTS[0])

    seeds, decays = ["--grid.seeds", "[0]"], ["--grid.weight_decay", "[0.01, 0.1, 0.4, 0.8]"]
    for words in ([], decays, [*seeds, *decays]):
        grid = parsed("probe", "--config", "probe_vjepa2", *words).grid
        heads = [len(head_settings(grid, folds)) for folds in (0, grid.folds)]
        sizes = [(n, n * parameters * 16 / 1e9, n * parameters * 28 / 1e9) for n in heads]
        cells = " | ".join(f"{n} | {few:.0f} | {many:.0f}" for n, few, many in sizes)
        assert f"| {cells} |" in _text(DOCUMENTS[0])
        assert all(f"{few:.0f}" in _text(FILES["probe_vjepa2"]) for _, few, _ in sizes)


def _text(path: Path) -> str:
    """Return a document without its line breaks and comment signs."""
    return " ".join(path.read_text(encoding="utf-8").replace("#", " ").split())


@pytest.mark.parametrize(
    ("recipe", "name"),
    [("probe", "probe_vjepa1"), ("probe", "probe_vjepa2"), ("finetune", "finetune_vitb16")],
)
def test_a_comparison_has_three_seeds_of_heads_for_trained_and_random_weights(
    recipe: str, name: str
) -> None:
    for words in ([], ["--config", name]):
        config = parsed(recipe, *words)
        assert len(config.grid.seeds if recipe == "probe" else config.seeds) == 3
        # Each encoder with random weights has the heads of the trained one.
        assert len(config.random_seeds) == 1


def test_the_probe_of_vjepa1_has_its_published_values() -> None:
    config = parsed("probe", "--config", "probe_vjepa1")
    assert (config.pooler.kind, config.epochs, config.global_batch) == ("vjepa1", 20, 256)
    assert config.grid.settings == [(1e-3, 0.01)]


def test_the_rate_falls_to_zero_as_a_cosine_after_its_warmup() -> None:
    config = parsed("probe", "--config", "probe_vjepa2")
    share = config.rate_share(2560)
    values = [schedule_value(share, step) for step in (0, 100, 200)]
    assert values == pytest.approx([1.0, 0.5, 0.0])
    warm = parsed("probe", "--config", "probe_vjepa2", "--warmup_epochs", "2").rate_share(2560)
    values = [schedule_value(warm, step) for step in (0, 10, 20, 200)]
    assert values == pytest.approx([0.0, 0.5, 1.0, 0.0])


def test_the_finetuning_of_videomae_has_its_published_values() -> None:
    config = parsed("finetune", "--config", "finetune_vitb16")
    assert (config.lr, config.weight_decay, config.layer_decay) == (1e-3, 0.05, 0.75)
    assert (config.epochs, config.warmup_epochs, config.global_batch) == (75, 5, 256)
    assert (config.mixing.mixup, config.mixing.cutmix, config.drop_path) == (0.8, 1.0, 0.1)
    assert (config.mixing.label_smoothing, config.pooler.kind) == (0.1, "mean")
