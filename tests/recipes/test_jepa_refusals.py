"""The JEPA recipe refuses what cannot work, each in one sentence that names the remedy."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from surgrec.errors import ConfigError, MissingError, MixtureError, ShardError, SurgrecError
from tests.support.documents import parse_config
from tests.support.processes import ROOT, load_recipe

TINY = ROOT / "recipes/configs/jepa_tiny.yaml"


@pytest.fixture(scope="module")
def jepa() -> ModuleType:
    """The recipe as a module, in this process: torch is imported once."""
    return load_recipe("jepa")


def parse(jepa: ModuleType, *words: object) -> Any:
    """The config that the recipe parses from these words."""
    return parse_config({"jepa": jepa}, "jepa", [str(word) for word in words])


def tiny_run(corpus: Path, run_dir: Path) -> list[object]:
    """Words of a run of one step."""
    return ["--config", TINY, "--corpus", corpus, "--run_dir", run_dir, "--steps", 1]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            ["--mixture.weights", "{nosuch: 1.0}"],
            MixtureError,
            "'nosuch', which the corpus does not have; use",
        ),
        (
            ["--mixture.block", "1"],
            MixtureError,
            "block is 1, but domain and source divide the samples into 3 strata",
        ),
        (
            ["--mixture.splits", "[test]"],
            MixtureError,
            r"no sample can be drawn from the stored split test",
        ),
        (
            ["--sampling_fps", "1.0"],
            MixtureError,
            "shorter than the 8 s of a training clip",
        ),
        (["--corpus", "/nonexistent/corpus"], (ShardError, MissingError), "/nonexistent/corpus"),
    ],
)
def test_an_impossible_run_is_refused_before_its_first_step(
    jepa: ModuleType,
    tiny_corpus: Path,
    tmp_path: Path,
    options: list[str],
    error: type[SurgrecError],
    match: str,
) -> None:
    config = parse(jepa, *tiny_run(tiny_corpus, tmp_path / "run"), *options)
    with pytest.raises(error, match=match):
        jepa.main(config)
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_a_folder_with_a_run_needs_resume_and_the_same_seed(
    jepa: ModuleType, tiny_corpus: Path, tmp_path: Path
) -> None:
    words = [*tiny_run(tiny_corpus, tmp_path), "--loader.num_workers", 0]
    jepa.main(parse(jepa, *words))
    with pytest.raises(
        ConfigError,
        match="already holds a run, with a checkpoint of step 1; continue it with --resume true",
    ):
        jepa.main(parse(jepa, *words))
    with pytest.raises(
        SurgrecError,
        match=r"config\.seed: saved 239, now 5; order\.seed: saved 239, now 5",
    ):
        jepa.main(parse(jepa, *words, "--resume", "true", "--seed", 5))


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("momentun: {value: 0.9}", "momentun"),
        ("loader: {num_worker: 2}", "did you mean 'num_workers'"),
    ],
)
def test_a_misspelt_key_in_a_config_file_ends_with_one_line(
    jepa: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, match: str
) -> None:
    key = line.split(":")[0]
    lines = [
        text
        for text in TINY.read_text(encoding="utf-8").splitlines()
        if not text.startswith(f"{key}:")
    ]
    config = tmp_path / "misspelt.yaml"
    config.write_text("\n".join([*lines, line]), encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        parse(jepa, "--config", config, "--corpus", "c", "--run_dir", "r")
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert match in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["jepa_tiny.yaml", "jepa_vitl16.yaml"])
def test_every_published_config_parses(jepa: ModuleType, name: str) -> None:
    path = ROOT / "recipes/configs" / name
    config = parse(jepa, "--config", path, "--corpus", "c", "--run_dir", "r")
    assert config.global_batch % 2 == 0


def test_the_full_size_config_has_the_published_values(jepa: ModuleType) -> None:
    config = parse(jepa, "--config", "jepa_vitl16", "--corpus", "c", "--run_dir", "r")
    lr = config.optimizer.lr
    assert (lr.start, lr.value, lr.warmup_steps, lr.decay) == (1e-4, 5.25e-4, 12_000, "constant")
    assert (config.momentum.value, config.optimizer.weight_decay.value) == (0.99925, 0.04)
    assert [(mask.num_blocks, mask.spatial_scale) for mask in config.objective.masks] == [
        (8, 0.15),
        (2, 0.7),
    ]
    assert (config.global_batch, config.objective.mask_group, config.seed) == (3072, 24, 239)
