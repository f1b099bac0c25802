"""Commands in heads of configs, recipes and pages have the options that `surgrec plan` prints."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surgrec.planning import _run_plan, plan_run
from tests.support.documents import documented_commands, parse_config
from tests.support.processes import ROOT, load_recipe

FILES = {
    path.stem: path
    for path in (ROOT / "recipes/configs").rglob("*.yaml")
    if path.parent.name not in ("probe", "finetune")
}
"""Configs of pretraining, which `surgrec plan` takes."""
PLANNED = re.compile(
    r"--(accumulation|activation_checkpointing|sharding|loader\.memory_gb) ([\w.]+)"
)
STATED = re.compile(r"This command fits 8 GPUs of 80 GB \(`surgrec plan`\): (\d+) GiB of each\.")
GPUS = re.compile(r"--(?:nproc_per_node|gpus-per-node) (\d+)")
PAGES = [
    path
    for pattern in ("*.md", "docs/*.md", "docker/*", "recipes/*", "recipes/slurm/*")
    for path in sorted(ROOT.glob(pattern))
    if path.suffix in (".md", ".py", ".sbatch", ".yaml", ".Dockerfile")
]
"""Where a reader finds commands of training, besides the heads of configs."""
MODES = _run_plan.MODES
TINY = ["jepa_tiny", "mae_tiny"]
OVERLAYS = ["static_16x224", "static_16x256", "static_64x256"]
GIB = 1 << 30


def text_of(name: str) -> str:
    return FILES[name].read_text(encoding="utf-8")


def command_options(name: str) -> dict[str, str]:
    """Return the options in the first command of a head that a plan decides."""
    command = re.search(r"^#   \S.*(?:(?<=\\)\n#  .*)*", text_of(name), re.MULTILINE)
    assert command, f"{name}: no command"
    return dict(PLANNED.findall(command.group()))


def stated_gib(name: str) -> int:
    """Return the memory of each GPU that a head states."""
    stated = STATED.search(text_of(name))
    assert stated, f"{name}: no memory"
    return int(stated.group(1))


def planned(
    config: Any, monkeypatch: pytest.MonkeyPatch | None = None
) -> tuple[dict[str, str], int]:
    """Return the options that a plan prints for eight GPUs of 80 GB, and the GiB of each.

    With `monkeypatch`, kinds of checkpointing after the first good one are left out, which takes a
    fifth of the time: a plan chooses the first good one.
    """
    for count in range(1 if monkeypatch else len(MODES), len(MODES) + 1):
        if monkeypatch:
            monkeypatch.setattr(_run_plan, "MODES", MODES[:count])
        plan = plan_run(config, gpu="h100-80", gpus=8, mfu=0.4)
        tokens = plan.chosen.largest * config.encoder.grid.num_tokens
        if tokens >= _run_plan._ENOUGH_TOKENS:
            break
    names, values = plan.flags[::2], plan.flags[1::2]
    options = {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}
    return options, round(plan.peak / GIB)


def parsed(name: str) -> Any:
    method = "jepa" if "jepa" in name else "mae"
    recipes = {method: load_recipe(method)}
    return parse_config(recipes, method, ["--config", name, "--corpus", "c", "--run_dir", "r"])


def training_commands(path: Path) -> Iterator[str]:
    """Yield the commands in a page or a comment that train a config whose head states its memory.

    A command with `...` in it is not whole.
    """
    text = re.sub(r"^#", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        name = re.search(r"recipes[/.](?:jepa|mae)(?:\.py)? --config (\w+)", line)
        if name and name[1] in FILES and name[1] not in TINY and "..." not in line:
            yield line.strip()


def samples_at_once(command: str, batch: int) -> float:
    """Return the samples that pass through the model of a GPU at once; one GPU if none is named."""
    gpus = GPUS.search(command)
    batch = int(dict(re.findall(r"--(global_batch) (\d+)", command)).get("global_batch", batch))
    parts = int(dict(PLANNED.findall(command)).get("accumulation", 1))
    return batch / (int(gpus[1]) if gpus else 1) / parts


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_of_a_page_takes_no_more_samples_at_once_than_the_head(path: Path) -> None:
    for command in training_commands(path):
        name = command.split("--config ")[1].split()[0]
        head, batch = command_options(name), parsed(name).global_batch
        fitting = batch / 8 / int(head.get("accumulation", 1))
        assert samples_at_once(command, batch) <= fitting, command

        # What else the head needs, its command on other numbers of GPUs needs too.
        needed = {flag: value for flag, value in head.items() if flag != "accumulation"}
        assert needed.items() <= dict(PLANNED.findall(command)).items(), command


def test_most_pages_of_training_have_a_whole_command() -> None:
    found = {path.name for path in PAGES if any(training_commands(path))}
    assert found >= {"README.md", "start.md", "running.md", "slurm.md", "train.sbatch", "jepa.py"}


@pytest.mark.parametrize("method", ["jepa", "mae"])
def test_a_recipe_starts_eight_processes_with_the_options_of_the_config(method: str) -> None:
    text = (ROOT / f"recipes/{method}.py").read_text(encoding="utf-8")
    (command,) = re.findall(r"--nproc_per_node 8 .*(?:(?<=\\)\n.*)*", text)
    name = command.split("--config ")[1].split()[0]
    assert dict(PLANNED.findall(command)) == command_options(name)


@pytest.mark.parametrize("name", ["mae_tiny", pytest.param("jepa_tiny", marks=pytest.mark.slow)])
def test_a_tiny_config_needs_no_options(name: str) -> None:
    options, _ = planned(parsed(name))
    assert command_options(name) == options == {}


def test_every_config_but_the_tiny_ones_states_its_memory() -> None:
    silent = [name for name in FILES if not STATED.search(text_of(name))]
    assert sorted(silent) == TINY


@pytest.mark.slow
def test_the_command_of_every_head_has_the_planned_options(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: dict[str, tuple[dict[str, str], int]] = {}
    wrong = {}
    for name in sorted(FILES.keys() - {*TINY, *OVERLAYS}):
        # Equal models are planned once.
        config = parsed(name)
        key = repr(
            [config.encoder, config.objective, getattr(config, "views", 1), config.global_batch]
            + [config.augment, config.loader, config.precision, config.seed]
        )
        if key not in plans:
            plans[key] = planned(config, monkeypatch)
        stated = command_options(name), stated_gib(name)
        if stated != plans[key]:
            wrong[name] = stated, plans[key]
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("name", OVERLAYS)
def test_the_command_of_an_overlay_fits_with_whole_mask_groups(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((method, words),) = documented_commands(text_of(name))
    words += ["--corpus", "c", "--run_dir", "r"]
    config = parse_config({method: load_recipe(method)}, method, words)
    assert planned(config, monkeypatch) == ({}, stated_gib(name))
    samples = config.global_batch // 8
    assert samples == config.accumulation * config.objective.mask_group
