"""What the JEPA recipe refuses, each in one sentence that says what to do. In one process: torch is imported once."""

from pathlib import Path
from types import ModuleType

import pytest

from surgrec.errors import ConfigError, MissingError, MixtureError, ShardError, SurgrecError
from tests.support.processes import ROOT, load_recipe

TINY = ROOT / "recipes/configs/jepa_tiny.yaml"


@pytest.fixture(scope="module")
def jepa() -> ModuleType:
    """The recipe as a module; only a test may import one."""
    return load_recipe("jepa")


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (["--mixture.weights", "{nosuch: 1.0}"], MixtureError, "'nosuch'; the corpus has"),
        (
            ["--mixture.block", "1"],
            MixtureError,
            "block 1 is smaller than the 3 groups by domain, source",
        ),
        (["--mixture.splits", "[test]"], MixtureError, r"no sample to draw in splits \['test'\]"),
        (
            ["--sampling_fps", "1.0"],
            MixtureError,
            "shorter than the 8 s that a training clip spans",
        ),
        (["--corpus", "/nonexistent/corpus"], (ShardError, MissingError), "/nonexistent/corpus"),
    ],
)
def test_a_run_that_cannot_work_is_refused_before_its_first_step(
    jepa: ModuleType,
    tiny_corpus: Path,
    tmp_path: Path,
    options: list[str],
    error: type[SurgrecError],
    match: str,
) -> None:
    words = [
        "--config",
        str(TINY),
        "--corpus",
        str(tiny_corpus),
        "--run_dir",
        str(tmp_path / "run"),
        *options,
    ]
    words += ["--steps", "1"]
    config = jepa.parse(jepa.JepaConfig, words)
    with pytest.raises(error, match=match):
        jepa.main(config)
    assert not (tmp_path / "run/metrics.jsonl").exists()


def test_a_folder_with_a_run_is_refused_without_resume_and_another_seed_with_it(
    jepa: ModuleType, tiny_corpus: Path, tmp_path: Path
) -> None:
    words = [
        "--config",
        str(TINY),
        "--corpus",
        str(tiny_corpus),
        "--run_dir",
        str(tmp_path),
        "--steps",
        "1",
    ]
    words += ["--loader.num_workers", "0"]
    jepa.main(jepa.parse(jepa.JepaConfig, words))
    with pytest.raises(
        ConfigError, match="holds a run that reached step 1: continue it with --resume true"
    ):
        jepa.main(jepa.parse(jepa.JepaConfig, words))
    with pytest.raises(
        SurgrecError, match=r"config\.seed: 239 there, 5 here; order\.seed: 239 there, 5 here"
    ):
        jepa.main(jepa.parse(jepa.JepaConfig, [*words, "--resume", "true", "--seed", "5"]))


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
        jepa.parse(jepa.JepaConfig, ["--config", str(config), "--corpus", "c", "--run_dir", "r"])
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert match in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize("name", ["jepa_tiny.yaml", "jepa_vitl16.yaml"])
def test_every_published_config_parses(jepa: ModuleType, name: str) -> None:
    words = ["--config", str(ROOT / "recipes/configs" / name), "--corpus", "c", "--run_dir", "r"]
    config = jepa.parse(jepa.JepaConfig, words)
    assert config.global_batch % 2 == 0


def test_the_full_size_config_has_the_published_values(jepa: ModuleType) -> None:
    words = [
        "--config",
        str(ROOT / "recipes/configs/jepa_vitl16.yaml"),
        "--corpus",
        "c",
        "--run_dir",
        "r",
    ]
    config = jepa.parse(jepa.JepaConfig, words)
    lr = config.optimizer.lr
    assert (lr.start, lr.value, lr.warmup_steps, lr.decay) == (1e-4, 5.25e-4, 12_000, "constant")
    assert (config.momentum.value, config.optimizer.weight_decay.value) == (0.99925, 0.04)
    assert [(mask.num_blocks, mask.spatial_scale) for mask in config.objective.masks] == [
        (8, 0.15),
        (2, 0.7),
    ]
    assert (config.global_batch, config.objective.mask_group, config.seed) == (3072, 24, 239)
