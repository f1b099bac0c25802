"""What a run is and will draw, shown and written down before its first step. Without torch: `surgrec-shard mix` reads it too."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from surgrec import __version__
from surgrec.cli import as_plain, from_plain, write_yaml
from surgrec.runs.rows import STARTS_FILE, append_rows, consumed_samples, read_metrics
from surgrec.stream import DrawPlan, Mixture, Stream

Recipe = Literal["jepa", "mae"]
PLAN_FILE, CONFIG_FILE = "plan.json", "config.yaml"
CHANGEABLE_ON_RESUME = {
    "run_dir",
    "corpus",
    "mixture",
    "init_from",
    "init_format",
    "init_license",
    "steps",
    "loader",
    "log",
    "save_every",
    "keep_checkpoints",
    "resume",
}
"""Fields of a recipe's config that may differ between a run and its resumption; the mixture is part of the order's identity,
and what `init_from` names is known by its digest."""


@runtime_checkable  # for the tests, which check annotations at run time
class PlannedRun(Protocol):
    """What `RunConfig` tells of a run."""

    @property
    def run_dir(self) -> Path:
        """Folder of the run."""

    @property
    def global_batch(self) -> int:
        """Positions of the order per step."""

    @property
    def positions(self) -> int:
        """Positions of the order that the whole run draws."""


def run_identity(
    recipe: Recipe,
    stream: Stream,
    config: PlannedRun,
    init_from: Mapping[str, Any] | None,
    step: int,
) -> dict[str, Any]:
    """What a run that resumes after `step` steps must share with the one that it continues, as JSON.

    It is the recipe, the order up to there (later stages of the mixture may differ), the config but for `CHANGEABLE_ON_RESUME`, and the
    weights that it was started from (`initial_weights`).
    """
    fixed = {
        name: value for name, value in as_plain(config).items() if name not in CHANGEABLE_ON_RESUME
    }
    order = stream.order.identity(step * config.global_batch)
    return {"recipe": recipe, "order": order, "config": fixed, "init_from": init_from}


def provenance(
    identity: Mapping[str, Any], stream: Stream, *, step: int, global_batch: int
) -> dict[str, Any]:
    """What the weights of a run were made of, as JSON, after `step` steps of `global_batch` clips."""
    consumed = stream.order.consumed(step * global_batch)
    return {**identity, "step": step, "consumed": consumed, "surgrec": __version__}


def record_start(config: PlannedRun, stream: Stream, *, first_step: int, processes: int) -> None:
    """Writes down what starts, now that nothing refuses it: config.yaml, plan.json, a row of starts.jsonl; shows the plan.

    Args:
        config: The run.
        stream: What it draws from.
        first_step: Where it starts or goes on.
        processes: How many there are.
    """
    plan = DrawPlan.for_positions(stream, config.positions)
    write_yaml(config, config.run_dir / CONFIG_FILE)
    write_plan(
        config.run_dir, sorted({source.store.address for source in stream.sources.values()}), plan
    )
    append_rows(
        config.run_dir / STARTS_FILE,
        [{"step": first_step, "processes": processes, "surgrec": __version__}],
    )
    print_plan(plan)
    if over := plan.repeats_warning():
        Console(stderr=True).print(f"[yellow]warning[/yellow] {over}")


def write_plan(run_dir: Path, corpora: Sequence[str], plan: DrawPlan) -> None:
    """Writes `RUN/plan.json`: the corpora, and per source its exact share and how often the run will repeat it."""
    content = {"corpora": list(corpora), "sources": [vars(source) for source in plan.sources]}
    (run_dir / PLAN_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_plan(run_dir: Path) -> dict[str, Any]:
    """The content of `RUN/plan.json`."""
    plan: dict[str, Any] = json.loads((run_dir / PLAN_FILE).read_text(encoding="utf-8"))
    return plan


def print_plan(plan: DrawPlan) -> None:
    """Shows the plan on standard error."""
    table = Table(title="what the run will draw", box=SIMPLE_HEAD, pad_edge=False)
    for column in ("source", "domain", "clips", "share", "draws", "epochs"):
        table.add_column(
            column, justify="left" if column in ("source", "domain") else "right", no_wrap=True
        )
    for source in plan.sources:
        counts = (
            f"{source.samples}",
            f"{source.share:.1%}",
            f"{source.draws}",
            f"{source.epochs:.2f}",
        )
        table.add_row(source.source, source.domain, *counts)
    Console(stderr=True).print(table)


@dataclass(frozen=True, kw_only=True)
class RunMixture:
    """What a run was asked to draw, and what it counted."""

    mixture: Mixture
    seed: int
    consumed: dict[str, int]
    """Samples per source."""


def read_run(run_dir: Path) -> RunMixture:
    """The mixture of a run and what it has consumed.

    Raises:
        ConfigError: The folder holds no run, or one that has not logged a step.
    """
    consumed = consumed_samples(read_metrics(run_dir))
    config = yaml.safe_load((run_dir / CONFIG_FILE).read_text(encoding="utf-8"))
    mixture = from_plain(Mixture, config["mixture"], str(run_dir / CONFIG_FILE))
    return RunMixture(mixture=mixture, seed=config["seed"], consumed=dict(consumed))
