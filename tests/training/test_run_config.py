"""A run's config refuses impossible values, and each recipe's help explains every field."""

import ast
import dataclasses
import inspect
from pathlib import Path

import pytest

from surgrec.clips import AugmentConfig
from surgrec.errors import ConfigError
from surgrec.models import EncoderConfig
from surgrec.runs.identity import CHANGEABLE_ON_RESUME
from surgrec.training import OptimizerConfig, RunConfig
from surgrec.training._launch import parse_recipe
from tests.support.processes import load_recipe

RUN = RunConfig(
    run_dir=Path("r"),
    corpus="c",
    encoder=EncoderConfig(width=48, depth=1, num_heads=2),
    sampling_fps=4.0,
    augment=AugmentConfig(),
    optimizer=OptimizerConfig(),
    global_batch=8,
    steps=5,
    seed=0,
)


def field_docs(config_type: type) -> dict[str, str]:
    """The literal under each field of a dataclass and of those that it extends."""
    docs = {}
    for kind in reversed(config_type.__mro__[:-1]):
        (body,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for field, below in zip(body.body, body.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
            ):
                docs[ast.unparse(field.target)] = " ".join(str(below.value.value).split())
    return docs


@pytest.mark.parametrize(("name", "config"), [("jepa", "JepaConfig"), ("mae", "MaeConfig")])
def test_the_help_of_a_recipe_explains_every_field(
    name: str, config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    recipe = load_recipe(name)
    config_type = getattr(recipe, config)
    docs = field_docs(config_type)
    assert docs.keys() == {field.name for field in dataclasses.fields(config_type)}
    with pytest.raises(SystemExit):
        parse_recipe(str(recipe.__file__), config_type, ["--help"])
    printed = " ".join(capsys.readouterr().out.split())
    for field, doc in docs.items():
        assert f"--{field}" in printed
        assert doc.rstrip(".") in printed, field


def test_every_field_that_may_change_on_resume_exists() -> None:
    assert {field.name for field in dataclasses.fields(RunConfig)} >= CHANGEABLE_ON_RESUME


def test_a_run_draws_a_position_for_every_sample() -> None:
    assert RUN.positions == 40


@pytest.mark.parametrize(
    ("field", "value"),
    [("global_batch", 0), ("save_every", 0), ("keep_checkpoints", -1), ("steps", -2)],
)
def test_an_impossible_run_is_refused(field: str, value: int) -> None:
    with pytest.raises(ConfigError, match=f"{field} is {value}"):
        dataclasses.replace(RUN, **{field: value})


def test_milestones_that_no_save_reaches_are_refused() -> None:
    with pytest.raises(ConfigError, match="milestone_every is 1500 and save_every is 1000; give a"):
        dataclasses.replace(RUN, save_every=1000, milestone_every=1500)


def test_an_mae_without_views_is_refused() -> None:
    mae = load_recipe("mae")
    with pytest.raises(ConfigError, match="views is 0"):
        mae.MaeConfig(run_dir=Path("r"), corpus="c", encoder=RUN.encoder, views=0)
    with pytest.raises(ConfigError, match="steps is -1"):
        mae.MaeConfig(run_dir=Path("r"), corpus="c", encoder=RUN.encoder, steps=-1)
