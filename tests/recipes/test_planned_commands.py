"""The command in the head of each config has the options that `surgrec plan` prints for it."""

import re
from typing import Any

import pytest

from surgrec.planning import plan_run
from tests.support.documents import parse_config
from tests.support.processes import ROOT, load_recipe

FILES = {path.stem: path for path in (ROOT / "recipes/configs").rglob("*.yaml")}
PLANNED = re.compile(
    r"--(accumulation|activation_checkpointing|sharding|loader\.memory_gb) ([\w.]+)"
)
TINY = ["jepa_tiny", "mae_tiny"]


def command_options(name: str) -> dict[str, str]:
    """Return the options in the first command of a head that a plan decides."""
    text = FILES[name].read_text(encoding="utf-8")
    command = re.search(r"^#   \S.*(?:(?<=\\)\n#  .*)*", text, re.MULTILINE)
    assert command, f"{name}: no command"
    return dict(PLANNED.findall(command.group()))


def planned_options(config: Any) -> dict[str, str]:
    """Return the options that a plan prints for eight GPUs of 80 GB."""
    flags = plan_run(config, gpu="h100-80", gpus=8, mfu=0.4).flags
    return {
        name.removeprefix("--"): value for name, value in zip(flags[::2], flags[1::2], strict=True)
    }


def parsed(name: str) -> Any:
    method = "jepa" if "jepa" in name else "mae"
    recipes = {method: load_recipe(method)}
    return parse_config(recipes, method, ["--config", name, "--corpus", "c", "--run_dir", "r"])


@pytest.mark.parametrize("name", ["mae_tiny", pytest.param("jepa_tiny", marks=pytest.mark.slow)])
def test_a_tiny_config_needs_no_options(name: str) -> None:
    assert command_options(name) == planned_options(parsed(name)) == {}


@pytest.mark.slow
def test_commands_that_state_their_memory_have_the_planned_options() -> None:
    planned: dict[str, dict[str, str]] = {}
    wrong = {}
    for name in sorted(FILES):
        if "This command fits 8 GPUs" not in FILES[name].read_text(encoding="utf-8"):
            continue
        # Equal models are planned once.
        config = parsed(name)
        key = repr(
            [config.encoder, config.objective, getattr(config, "views", 1), config.global_batch]
            + [config.augment, config.loader, config.precision, config.seed]
        )
        if key not in planned:
            planned[key] = planned_options(config)
        if command_options(name) != planned[key]:
            wrong[name] = planned[key]
    assert planned
    assert not wrong
