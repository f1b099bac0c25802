"""Every number of every config has a range, and what lies outside is refused by its name."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

import pytest
from surgrec_shard.curation import CurateSettings
from surgrec_shard.encode import EncodeSettings
from surgrec_shard.groups import PackSettings

from surgrec.config_values import to_type
from surgrec.errors import ConfigError, MixtureError
from surgrec.features import EncoderChoice, ExtractConfig
from surgrec.ranges import Range, check_ranges, type_hints
from surgrec.stream import Mixture
from surgrec.supervised import TokenProbeConfig
from surgrec.training import ScheduleConfig
from surgrec.vlms import ModelConfig, PromptConfig, ServerConfig, WindowConfig
from tests.support.processes import load_recipe


@pytest.fixture(scope="module")
def recipes() -> dict[str, ModuleType]:
    """Both recipes as modules."""
    return {name: load_recipe(name) for name in ("jepa", "mae")}


@dataclass(frozen=True, kw_only=True)
class Lens:
    """Numbers of each kind."""

    zoom: Annotated[float, Range(0, 1, above=True)] = 0.5
    sizes: tuple[Annotated[int, Range(1, 9)], ...] = ()
    weights: dict[str, Annotated[float, Range(0, 2)]] | None = None
    gain: float | None = None
    ramp: Annotated[ScheduleConfig, Range(0, 1)] = ScheduleConfig(value=1.0)

    def __post_init__(self) -> None:
        check_ranges(self)


class WideLens(Lens):
    """A subclass that changes a default only."""

    zoom: float = 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"zoom": 0.0}, r"zoom is 0\.0; give more than 0 and at most 1"),
        ({"zoom": float("nan")}, "zoom is nan; give more than 0"),
        ({"sizes": (3, 10)}, r"sizes\[1\] is 10; give 1 to 9"),
        ({"weights": {"a": 1.0, "b": -1.0}}, r"weights\.b is -1\.0; give 0 to 2"),
        ({"gain": float("inf")}, "gain is inf; give a finite number"),
        ({"ramp": ScheduleConfig(value=1.5)}, r"ramp\.value is 1\.5; give 0 to 1"),
        (
            {"ramp": ScheduleConfig(value=1.0, start=-1.0, warmup_steps=3)},
            r"ramp\.start is -1\.0; give 0 to 1",
        ),
        ({"sizes": (10**400,)}, r"sizes\[0\] is 10000000000000000000\.\.\. of 401 digits; give 1"),
    ],
)
@pytest.mark.parametrize("kind", [Lens, WideLens])
def test_a_number_outside_its_range_is_refused_by_its_place(
    kind: type[Lens], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        kind(**changes)


def numbers_without_range(config_type: type, place: str = "") -> Iterator[str]:
    """Names of the numbers in a config that any value passes."""
    for each in fields(config_type):  # type: ignore[arg-type]
        hint = type_hints(config_type)[each.name]
        yield from _without_range(hint, f"{place}{each.name}")


def _without_range(hint: Any, name: str) -> Iterator[str]:
    if hint in (int, float):
        yield name
    elif isinstance(hint, type) and is_dataclass(hint):
        yield from numbers_without_range(hint, f"{name}.")
    elif get_origin(hint) is not Annotated:
        for inner in get_args(hint):
            yield from _without_range(inner, name)


def test_every_number_of_every_config_has_a_range(recipes: dict[str, ModuleType]) -> None:
    configs = [recipes["jepa"].JepaConfig, recipes["mae"].MaeConfig, Mixture]
    configs += [
        TokenProbeConfig,
        ExtractConfig,
        EncoderChoice,
        EncodeSettings,
        PackSettings,
        CurateSettings,
        ModelConfig,
        PromptConfig,
        ServerConfig,
        WindowConfig,
    ]
    without = {name for config in configs for name in numbers_without_range(config)}
    # Blocks are checked against the depth; an amount of cases is at most all of them.
    assert without == {"encoder.levels", "few_shot"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mixture.block", 10**15, "mixture: block is 1000000000000000; give 1 to 10,000,000"),
        ("global_batch", 10**12, "global_batch is 1000000000000; give 1 to 10,000,000"),
        ("steps", 10**18, "steps is 1000000000000000000; give 0 to 1,000,000,000"),
        ("encoder.width", 10**9, "encoder: width is 1000000000; give 1 to 65536"),
        ("encoder.width", 10**400, "encoder: width is 10000000000000000000... of 401 digits"),
        ("encoder.mlp_ratio", float("nan"), "encoder: mlp_ratio is nan; give more than 0"),
        ("momentum", 1.5, "momentum.value is 1.5; give 0 to 1"),
        ("optimizer.lr", float("inf"), "optimizer.lr: value is inf; give a finite number"),
        ("optimizer.weight_decay", -0.1, "optimizer: weight_decay.value is -0.1; give 0 to 100"),
        ("optimizer.betas", [0.9, 1.0], "betas[1] is 1.0; give at least 0 and less than 1"),
        ("loader.num_workers", 10**6, "loader.num_workers is 1000000; give 0 to 1024"),
        ("sampling_fps", 0, "sampling_fps is 0.0; give more than 0"),
        ("seed", -1, "seed is -1; give 0 to"),
        ("steps", 2.5, "steps is 2.5; give a whole number"),
        ("steps", True, "steps is true; give a whole number"),
    ],
)
def test_an_absurd_number_of_a_run_is_refused_before_any_work(
    recipes: dict[str, ModuleType], name: str, value: object, message: str
) -> None:
    tree: dict[str, Any] = {"run_dir": "r", "corpus": "c", "encoder": SMALL}
    group, _, key = name.rpartition(".")
    if group:
        tree[group] = {**tree.get(group, {}), key: value}
    else:
        tree[key] = value
    with pytest.raises((ConfigError, MixtureError)) as refused:
        to_type(recipes["jepa"].JepaConfig, tree)
    assert message in str(refused.value)


SMALL = {"width": 48, "depth": 1, "num_heads": 2}


def test_a_number_stands_for_a_constant_schedule(recipes: dict[str, ModuleType]) -> None:
    tree = {"run_dir": "r", "corpus": "c", "encoder": SMALL, "momentum": 0.998}
    config = to_type(recipes["jepa"].JepaConfig, {**tree, "optimizer": {"lr": 1}})
    assert config.momentum == ScheduleConfig(value=0.998)
    assert config.optimizer.lr == ScheduleConfig(value=1.0)


def test_whole_numbers_may_be_written_with_an_exponent(recipes: dict[str, ModuleType]) -> None:
    tree = {"run_dir": "r", "corpus": "c", "encoder": SMALL, "steps": 1e3}
    config = to_type(recipes["jepa"].JepaConfig, tree)
    assert (config.steps, type(config.steps)) == (1000, int)
