"""`surgrec plan`: what a run needs of its machine, and the options with which it fits."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, make_dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgrec.commands._train_extra import train_extra
from surgrec.config_files import merge_configs, read_config
from surgrec.config_values import default_of
from surgrec.errors import ConfigError
from surgrec.terminal import print_json, print_result, result_table
from surgrec.text import counted

if TYPE_CHECKING:
    from surgrec.planning import RunPlan

_UNUSED = [("corpus", str | list[str] | None, None), ("run_dir", Path | None, None)]
"""Required options of a recipe that a plan accepts, but does not need."""
_GIB = 1 << 30


def plan(words: Sequence[str]) -> None:
    """Show what a run needs of its machine, and the options with which it fits.

    Args:
        words: Options of `PlanOptions`, and those of the recipe.

    Raises:
        ConfigError: The config is of no recipe, or the run does not fit.
    """
    with train_extra():
        from surgrec.planning import PlanOptions, plan_run
        from surgrec.training import parse_recipe

    # A recipe is loaded by its name, as `python -m surgrec.recipes.jepa` does.
    jepa, mae = (import_module(f"surgrec.recipes.{name}") for name in ("jepa", "mae"))
    configs = Path(str(jepa.__file__)).with_name("configs")
    recipe = _recipe(words, configs, {"jepa": jepa.JepaConfig, "mae": mae.MaeConfig})

    bases = (PlanOptions, recipe)
    config_type = make_dataclass("Plan", _UNUSED, bases=bases, kw_only=True, frozen=True)
    config_type.__doc__ = PlanOptions.__doc__
    config: Any = parse_recipe(str(jepa.__file__), config_type, words, prog="surgrec plan")

    result = plan_run(config, gpu=config.gpu, gpus=config.gpus, mfu=config.mfu)
    if config.json:
        print_json(asdict(result))
    else:
        _print(result)


def _recipe(words: Sequence[str], configs: Path, recipes: Mapping[str, type]) -> type:
    """Return the config type of the recipe that has the options of all given config files."""
    given = [following for word, following in pairwise(words) if word == "--config"]
    given += [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
    values = merge_configs([read_config(name, configs) for name in given])

    fitting = [recipe for recipe in recipes.values() if _has(recipe, values)]
    if "--help" in words or "-h" in words:
        return next(iter(recipes.values()))
    if not given:
        raise ConfigError("--config is required; give the config of a run, such as jepa_vitl16")
    if len(fitting) != 1:
        fault = "fit several recipes" if fitting else "fit no recipe"
        raise ConfigError(
            f"the options of {' and '.join(given)} {fault}; give a config whose objective has the "
            "options of one recipe, predictor and masks (jepa) or decoder and mask_ratio (mae)"
        )
    return fitting[0]


def _has(recipe: type, values: Mapping[str, Any]) -> bool:
    """Return whether a recipe has all of these options, down to those of its objective."""
    objective = values.get("objective")
    inner = {each.name for each in fields(type(default_of(recipe, "objective")))}
    names = {each.name for each in fields(recipe)}
    return values.keys() <= names and (
        not isinstance(objective, Mapping) or objective.keys() <= inner
    )


def _print(plan: "RunPlan") -> None:
    """Print the figures and the options of a plan."""
    table = result_table(
        f"{counted(plan.gpus, 'GPU')} {plan.gpu}, {counted(plan.samples_per_gpu, 'sample')} each",
        left=("figure",),
        right=("value", "unit"),
    )
    for name, value, unit in _rows(plan):
        table.add_row(name, value, unit)
    print_result(table)
    print_result(f"add to the command: {' '.join(plan.flags) or 'nothing, it fits as it is'}")


def _rows(plan: "RunPlan") -> list[tuple[str, str, str]]:
    static, chosen = plan.static, plan.chosen

    def gib(name: str, size: float) -> tuple[str, str, str]:
        return name, f"{size / _GIB:.2f}", "GiB"

    return [
        gib("weights", static.parameters),
        gib("gradients", static.gradients),
        gib("moments of AdamW", static.moments),
        gib("target encoder", static.target),
        gib("tables of positions", static.buffers),
        *([gib("gathered blocks", static.gathered)] if static.gathered else []),
        gib("weights in bf16", chosen.memory.constant),
        gib(f"activations of {counted(plan.samples_per_part, 'sample')}", plan.kept),
        gib("backward pass beside them", plan.transient),
        gib("sum", plan.peak),
        *([gib("start, before weights are divided", static.start)] if static.start else []),
        gib("usable for tensors", plan.usable),
        *(
            (f"largest part, checkpointing {fit.checkpointing}", f"{fit.largest}", "samples")
            for fit in plan.fits
        ),
        ("parts of a step (accumulation)", f"{plan.accumulation}", ""),
        (f"time at {plan.mfu:.0%} MFU", f"{plan.days:.2f}", "days"),
        ("samples that the loaders bring", f"{plan.samples_per_s:.0f}", "per s"),
        ("processor cores for that", f"{plan.cores}", "cores"),
        gib("loader of a GPU: buffers", plan.loader.buffers),
        gib("loader of a GPU: page-locked", plan.loader.pinned),
        gib("loader of a GPU: read ahead", plan.loader.encoded),
        gib("host, each process: start", plan.host_start),
        gib("host, main process: copy for saves", plan.host_save),
        gib("a checkpoint on disk", plan.checkpoint),
    ]
