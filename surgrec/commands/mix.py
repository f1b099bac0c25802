"""`surgrec mix`: what a mixture draws of each source."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from surgrec.errors import ConfigError
from surgrec.runs import read_run
from surgrec.shards import open_corpus
from surgrec.stream import (
    Mixture,
    SourcePlan,
    Stream,
    over_repeated,
    plan_draws,
    sum_by_domain,
    summarize_draws,
)
from surgrec.terminal import print_json, result_table, say


def mix(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: int = 0,
    samples: int = 0,
    run: Path | None = None,
    json: bool = False,
) -> int:
    """What a mixture draws of each source and domain: before a run, or counted by one.

    Args:
        corpus: One or several corpus roots.
        mixture: A mixture YAML file, or its fields as flags. Default: domains equally, sources by square root.
        seed: Seed of the run; it decides what stands in a block that is not full.
        samples: Samples that the run will draw: its steps times its global batch.
        run: Folder of a run: show what it has consumed, under its own mixture and seed, and whether that was the plan.
        json: Print one JSON list instead of a table.
    """
    if (run is None) == (samples < 1):
        raise ConfigError(
            "give either --samples N, for a run to come, or --run RUN, for one that has logged steps"
        )
    counted = read_run(run) if run is not None else None
    if counted is not None:
        mixture, seed, samples = counted.mixture, counted.seed, sum(counted.consumed.values())
    stream = Stream(open_corpus(corpus), mixture, seed)
    planned = plan_draws(stream, samples)
    shown = planned if counted is None else summarize_draws(stream, counted.consumed)
    if json:
        print_json([vars(plan) for plan in shown])
    else:
        _print_mix(
            shown, f"{samples} samples, {'planned' if counted is None else f'consumed by {run}'}"
        )
    if counted is not None:
        wrong = [
            plan.source
            for plan, found in zip(planned, shown, strict=True)
            if plan.draws != found.draws
        ]
        verdict = (
            f"not as planned: {', '.join(wrong)}" if wrong else "to the sample what was planned"
        )
        say(escape(verdict))
        return 1 if wrong else 0
    if found := over_repeated(planned, mixture.max_repeats):
        say(f"[yellow]warning[/yellow] {escape(found)}")
        return 1 if mixture.over_max_repeats == "refuse" else 0
    return 0


def _print_mix(plans: Sequence[SourcePlan], title: str) -> None:
    counted = ("clips", "hours", "share", "draws", "epochs", "hours drawn")
    table = result_table(title, left=("domain", "source"), right=counted)
    for domain in sum_by_domain(plans):
        own = [plan for plan in plans if plan.domain == domain.domain]
        for plan in (*own, domain) if len(own) > 1 else own:
            counts = (
                f"{plan.samples}",
                f"{plan.hours:.2f}",
                f"{plan.share:.2%}",
                f"{plan.draws}",
                f"{plan.epochs:.2f}",
            )
            style = None if plan.source else "bold"
            hours = (
                f"{plan.epochs * plan.hours:.2f}"
                if plan.source
                else f"{sum(p.epochs * p.hours for p in own):.2f}"
            )
            table.add_row(plan.domain, plan.source or "all", *counts, hours, style=style)
    Console().print(table)
