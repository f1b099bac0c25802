"""A recipe is one short file with its loop in it, and starts from a clone and from the package."""

import ast
import runpy
import sys
import tomllib

import pytest

from tests.support.processes import ROOT

METHODS = ["jepa", "mae"]
SUPERVISED = ["probe", "finetune"]


@pytest.mark.parametrize(
    ("name", "limit"),
    [("jepa", 120), ("mae", 120), ("probe", 120), ("finetune", 120), ("demo", 200)],
)
def test_a_recipe_is_short(name: str, limit: int) -> None:
    lines = (ROOT / f"recipes/{name}.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= limit, "config and docstring included"


@pytest.mark.parametrize("name", METHODS)
def test_a_recipe_shows_its_loop_its_loss_and_its_update(name: str) -> None:
    tree = ast.parse((ROOT / f"recipes/{name}.py").read_text(encoding="utf-8"))
    (main,) = (
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    (loop,) = (node for node in main.body if isinstance(node, ast.For))
    assert ast.unparse(loop.iter) == "run.steps(data)"

    nodes = [node for node in ast.walk(loop) if isinstance(node, ast.Call)]
    calls = [ast.unparse(node.func) for node in sorted(nodes, key=lambda node: node.lineno)]
    update = ["model", "run.backward", "clip_gradients", "optimizer.step", "optimizer.zero_grad"]
    assert [call for call in calls if call in update] == update


@pytest.mark.parametrize("name", [*METHODS, *SUPERVISED])
def test_a_recipe_starts_as_a_module_of_the_package(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [name, "--config", f"{name}_tinny"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"surgrec.recipes.{name}", run_name="__main__", alter_sys=True)
    assert stopped.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"python -m surgrec.recipes.{name}: error: ")
    assert f"did you mean {name}_tiny" in errors


def test_the_package_contains_the_recipes() -> None:
    link = ROOT / "surgrec/recipes"
    assert link.is_symlink(), "hatchling follows it into the wheel, and an editable install too"
    assert link.resolve() == ROOT / "recipes"

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    targets = project["tool"]["hatch"]["build"]["targets"]
    assert "surgrec" in targets["wheel"]["packages"]
    assert targets["sdist"]["force-include"] == {"surgrec/recipes": "surgrec/recipes"}
