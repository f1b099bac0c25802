"""`surgrec mix`: what a mixture draws of each source."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from surgrec.errors import ConfigError
from surgrec.runs import read_run
from surgrec.shards import open_corpus
from surgrec.stream import DrawPlan, Mixture, Stream
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
    planned = DrawPlan.for_positions(stream, samples)
    shown = planned if counted is None else DrawPlan.from_counts(stream, counted.consumed)
    if json:
        print_json([vars(source) for source in shown.sources])
    else:
        _print_mix(
            shown, f"{samples} samples, {'planned' if counted is None else f'consumed by {run}'}"
        )
    if counted is not None:
        wrong = [
            plan.source
            for plan, found in zip(planned.sources, shown.sources, strict=True)
            if plan.draws != found.draws
        ]
        verdict = (
            f"not as planned: {', '.join(wrong)}" if wrong else "to the sample what was planned"
        )
        say(escape(verdict))
        return 1 if wrong else 0
    if over := planned.repeats_warning():
        say(f"[yellow]warning[/yellow] {escape(over)}")
        return 1 if mixture.over_max_repeats == "refuse" else 0
    return 0


def _print_mix(plan: DrawPlan, title: str) -> None:
    counted = ("clips", "hours", "share", "draws", "epochs", "hours drawn")
    table = result_table(title, left=("domain", "source"), right=counted)
    for domain in plan.domains():
        members = [source for source in plan.sources if source.domain == domain.domain]
        for row in (*members, domain) if len(members) > 1 else members:
            counts = (
                f"{row.samples}",
                f"{row.hours:.2f}",
                f"{row.share:.2%}",
                f"{row.draws}",
                f"{row.epochs:.2f}",
            )
            style = None if row.source else "bold"
            hours = (
                f"{row.epochs * row.hours:.2f}"
                if row.source
                else f"{sum(member.epochs * member.hours for member in members):.2f}"
            )
            table.add_row(row.domain, row.source or "all", *counts, hours, style=style)
    Console().print(table)
