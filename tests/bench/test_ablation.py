"""Ablations: two methods may differ in what the question is about, and in nothing else."""

import copy
from pathlib import Path
from typing import Any

import pytest

from surgrec.bench import BenchEncoder, check_arms, read_ablation
from surgrec.errors import ConfigError

Runs = dict[str, dict[str, Any]]


def run(seed: int, alpha: float) -> dict[str, Any]:
    """Return the provenance of a run as its encoder file has it, shortened."""
    return {
        "recipe": "mae",
        "config": {"seed": seed, "optimizer": {"weight_decay": 0.05}},
        "order": {
            "seed": seed,
            "mixture": {"stages": [{"levels": [{"by": "source", "alpha": alpha}]}]},
            "sources": {"alpha": {"digest": "1"}},
        },
        "init_from": None,
        "step": 100,
        "consumed": {"alpha": round(100 * alpha)},
        "drawn": {"key": str(seed)},
    }


def four_runs() -> Runs:
    return {
        f"{method}{seed}": run(seed, alpha)
        for method, alpha in (("balanced", 0.0), ("natural", 1.0))
        for seed in (0, 1)
    }


def check(runs: Runs) -> Any:
    encoders = [
        BenchEncoder(method=name.rstrip("0123456789"), name=name, path=f"runs/{name}")
        for name in runs
    ]
    return check_arms(read_ablation("balanced"), encoders, runs)


def test_runs_that_differ_in_the_mixture_alone_are_accepted_seed_by_seed() -> None:
    arms = check(four_runs())
    assert arms.seeds == [0, 1]
    assert arms.differs == ["order.mixture.stages.0.levels.0.alpha"]


@pytest.mark.parametrize(
    ("name", "part", "key", "value", "message"),
    [
        ("natural1", "config", "optimizer", {"weight_decay": 0.1}, "config.optimizer.weight_decay"),
        ("natural0", "order", "sources", {"alpha": {"digest": "2"}}, "order.sources.alpha.digest"),
    ],
)
def test_another_difference_is_refused_and_named(
    name: str, part: str, key: str, value: object, message: str
) -> None:
    runs = copy.deepcopy(four_runs())
    runs[name][part][key] = value
    with pytest.raises(ConfigError, match=f"also differ in {message}"):
        check(runs)


def test_other_steps_seeds_or_no_difference_are_refused() -> None:
    runs = four_runs()
    runs["balanced0"]["step"] = 90
    with pytest.raises(ConfigError, match="also differ in step"):
        check(runs)
    runs = four_runs()
    del runs["natural1"]
    with pytest.raises(ConfigError, match=r"other seeds \(0, 1 of balanced, 0 of natural\)"):
        check(runs)
    runs = {name: run(each["config"]["seed"], 0.5) for name, each in four_runs().items()}
    with pytest.raises(ConfigError, match=r"do not differ in order\.mixture"):
        check(runs)


def test_runs_without_a_record_and_arms_without_runs_are_refused() -> None:
    runs = four_runs()
    runs["natural0"] = {"config": {"sampling_fps": 4.0}}
    with pytest.raises(ConfigError, match="runs/natural0 does not record its pretraining"):
        check(runs)
    with pytest.raises(ConfigError, match="give them with --encoders natural=RUN"):
        check({"balanced0": run(0, 0.0)})
    with pytest.raises(ConfigError, match="there is no ablation 'balance'"):
        read_ablation("balance")


def test_a_file_of_the_user_is_an_ablation(tmp_path: Path) -> None:
    path = tmp_path / "masks.yaml"
    path.write_text("title: Masks\nquestion: Which?\narms: [a, b]\ndiffers: [config.objective]\n")
    assert read_ablation(str(path)).arms == ("a", "b")
    path.write_text("title: Masks\nquestion: Which?\narms: [a, a]\ndiffers: [config]\n")
    with pytest.raises(ConfigError, match=r"masks\.yaml: arms are a, a"):
        read_ablation(str(path))
