"""`surgrec plan`: what a run needs, counted from its model."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from surgrec.planning import StepMemory, _run_plan, step_memory
from tests.support.documents import parse_config
from tests.support.processes import load_recipe
from tests.support.tool import refusal, surgrec_here

GIB = 1 << 30
Parse = Callable[..., Any]


@pytest.fixture(scope="module")
def config() -> Parse:
    recipes = {name: load_recipe(name) for name in ("jepa", "mae")}

    def parse(name: str, *words: str) -> Any:
        method = name.partition("_")[0]
        given = ["--config", name, "--corpus", "c", "--run_dir", "r", *words]
        return parse_config(recipes, method, given)

    return parse


@pytest.mark.parametrize("name", ["mae_tiny", pytest.param("jepa_tiny", marks=pytest.mark.slow)])
def test_tensors_without_data_give_the_bytes_of_real_ones(config: Parse, name: str) -> None:
    run = config(name, "--precision", "bf16", "--encoder.depth", "2")
    without_data = step_memory(run, "none", 4)
    assert without_data == step_memory(run, "none", 4, fake=False)
    assert without_data.kept_per_clip > 4 * run.encoder.num_frames * 3 * run.encoder.crop_px**2


def test_recomputation_needs_less_memory(config: Parse) -> None:
    run = config("mae_tiny", "--precision", "bf16")
    none, selective, full = (step_memory(run, kept, 4) for kept in ("none", "selective", "full"))
    assert none.kept_per_clip > selective.kept_per_clip > full.kept_per_clip
    assert none.peak_per_clip > selective.peak_per_clip > full.peak_per_clip


def test_a_larger_batch_needs_more_memory_in_proportion(config: Parse) -> None:
    run = config("mae_tiny", "--precision", "bf16", "--encoder.depth", "2")
    small, large = step_memory(run, "none", 2), step_memory(run, "none", 4)
    assert large.kept_per_clip == pytest.approx(small.kept_per_clip, rel=0.01)


def test_the_largest_part_is_the_last_one_that_fits() -> None:
    memory = StepMemory(constant=10, kept_per_clip=3.0, peak_per_clip=4.0)
    assert (memory.largest(21), memory.largest(22), memory.largest(9)) == (2, 3, 0)
    assert memory.peak(3) == 22.0


def test_a_plan_gives_the_options_with_which_a_run_fits() -> None:
    words = ("plan", "--config", "mae_tiny", "--gpu", "3090-24", "--gpus", 2, "--precision", "bf16")
    memory = ("--loader.memory_gb", 1000)
    done = surgrec_here(*words, "--global_batch", 40_000, "--views", 4, "--json", *memory)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["samples_per_gpu"] == 20_000
    assert plan["accumulation"] > 1
    assert plan["flags"] == ["--accumulation", str(plan["accumulation"])]
    assert plan["peak"] < plan["usable"] < 23.5 * GIB
    assert plan["samples_per_part"] <= plan["fits"][0]["largest"]
    assert plan["checkpoint"] == 3 * plan["static"]["parameters"], "weights and two moments"


def test_a_plan_that_cannot_be_made_is_refused_in_one_sentence() -> None:
    tiny = ("plan", "--config", "mae_tiny")
    assert "unknown; give one of h200-141, h100-80" in refusal(surgrec_here(*tiny, "--gpu", "h100"))
    assert "give --gpus 4, or another --global_batch" in refusal(surgrec_here(*tiny, "--gpus", 6))
    assert "give --precision fp16 or no" in refusal(
        surgrec_here(*tiny, "--precision", "bf16", "--gpu", "v100-32")
    )
    assert "--config is required" in refusal(surgrec_here("plan", "--gpus", 1))
    wide = ("--encoder", "{width: 32768, depth: 2, num_heads: 64}")
    largest = (*tiny, *wide, "--gpu", "h200-141", "--gpus")
    assert "give more --gpus" in refusal(surgrec_here(*largest, 1))
    assert "at its start, before its weights are divided" in refusal(surgrec_here(*largest, 8))


@pytest.mark.slow
def test_memory_of_vit_l_is_that_counted_before(config: Parse) -> None:
    memory = step_memory(config("jepa_vitl16"), "none", 24)
    # 28 GiB with norms in bf16 and masks of mean size. These norms are float32, as on GPUs, and
    # the masks are those of the heaviest group of 10^8.
    assert 28 < 24 * memory.kept_per_clip / GIB < 42


@pytest.mark.parametrize(
    ("samples", "largest", "parts"),
    [(384, 39, 16), (384, 50, 8), (384, 23, 32), (384, 400, 1), (100, 30, 4), (48, 5, 12)],
)
def test_parts_keep_mask_groups_whole_or_divide_one(
    config: Parse, samples: int, largest: int, parts: int
) -> None:
    run = config("jepa_vitl16")
    assert _run_plan._parts(run, samples, largest) == parts
    if samples % run.objective.mask_group == 0:
        size = samples // parts
        assert size % 24 == 0 or 24 % size == 0
    assert _run_plan._parts(config("mae_vitb16"), samples, largest) == -(-samples // largest)


def test_sharding_is_recommended_only_if_nothing_else_fits() -> None:
    words = ("plan", "--config", "mae_tiny", "--gpu", "3090-24", "--gpus", 16, "--json")
    wide = ("--encoder", "{width: 4096, depth: 14, num_heads: 32}", "--precision", "bf16")
    done = surgrec_here(*words, *wide)
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    static = plan["static"]
    assert plan["flags"] == ["--sharding", "full"]
    assert plan["checkpoint"] > 24e9, "three times the weights: too much for one GPU"
    assert static["parameters"] == pytest.approx(plan["checkpoint"] / 3 / 16, rel=1e-6)
    assert static["moments"] == pytest.approx(2 * static["parameters"], rel=1e-6)
    assert static["gathered"] > 4 * 12 * 4096**2 * 4, "a block, the next one, and its gradients"
    assert static["start"] > plan["checkpoint"] / 3, "whole weights, before they are divided"
    assert static["start"] < plan["usable"]
    assert plan["host_save"] == plan["checkpoint"], "the main process gathers whole tensors"
    assert plan["host_start"] == plan["checkpoint"] / 3

    narrow = json.loads(surgrec_here(*words).stdout)
    assert (narrow["sharding"], narrow["static"]["gathered"]) == ("none", 0)
    assert narrow["static"]["start"] == 0, "less than a step"


def test_the_help_of_a_plan_requires_no_corpus_and_no_run_folder() -> None:
    done = surgrec_here("plan", "--help")
    assert done.returncode == 0, done.stderr
    assert {"--corpus", "--run_dir"} <= {*done.stdout.split()}
    assert "(required)" not in done.stdout
