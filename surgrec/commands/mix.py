"""`surgrec mix`: the draws of each source, planned or counted."""

from pathlib import Path
from typing import Annotated

from surgrec.errors import ConfigError
from surgrec.ranges import Range, Seed
from surgrec.runs import read_run
from surgrec.shards import open_corpus
from surgrec.stream import DrawPlan, Mixture, Stream
from surgrec.terminal import escape, print_json, print_result, result_table, say, warn
from surgrec.text import counted


def mix(
    corpus: list[str],
    mixture: Mixture = Mixture(),
    seed: Seed = 0,
    samples: Annotated[int, Range(0, 10**16)] = 0,
    run: Path | None = None,
    json: bool = False,
) -> int:
    """Show the draws of each source and domain: planned for a new run, or counted in a run.

    Exit status 1: the draws of a run differ from its plan, or a planned run exceeds max_repeats.

    Args:
        corpus: One or several corpora: folders, or s3://bucket/prefix.
        mixture: Mixture: a YAML file, or single fields. By default, domains have equal shares.
            Within a domain, a source's share is proportional to the square root of its size.
        seed: Seed of the run. It changes the counts only if the last mixing block is not full.
        samples: Samples that the run will draw: its steps times its global batch.
        run: Folder of a run: count the samples it has drawn, and compare them with the plan of its
            mixture and seed.
        json: Print one JSON list instead of a table.

    Example:
        surgrec mix /data/corpus --samples 17280000
        surgrec mix /data/corpus --run runs/jepa
    """
    if (run is None) == (samples < 1):
        raise ConfigError(
            f"--samples is {samples} and --run is {run or 'missing'}; give either --samples N for "
            "a new run, or --run RUN for a run that has logged steps"
        )
    logged = read_run(run) if run is not None else None
    if logged is not None:
        mixture, seed, samples = logged.mixture, logged.seed, sum(logged.consumed.values())

    sources = open_corpus(corpus)
    if logged is not None and (absent := sorted(logged.consumed.keys() - sources.keys())):
        raise ConfigError(
            f"{run} has consumed samples of {', '.join(absent)}, which {', '.join(corpus)} lacks; "
            "give all corpora of the run"
        )
    stream = Stream(sources, mixture, seed)
    planned = DrawPlan.for_positions(stream, samples)
    plan = planned if logged is None else DrawPlan.from_counts(stream, logged.consumed)
    if json:
        print_json([vars(source) for source in plan.sources])
    else:
        kind = "planned" if logged is None else f"consumed by {run}"
        _print_plan(plan, f"{counted(samples, 'sample')}, {kind}")

    if logged is not None:
        return _compare(planned, plan)
    if warning := planned.repeats_warning():
        warn(escape(warning))
        return 1 if mixture.over_max_repeats == "refuse" else 0
    return 0


def _compare(planned: DrawPlan, consumed: DrawPlan) -> int:
    """Print whether a run matches its plan; return the exit status."""
    pairs = zip(planned.sources, consumed.sources, strict=True)
    different = [plan.source for plan, actual in pairs if plan.draws != actual.draws]
    if different:
        say(escape(f"the draws differ from the plan in {', '.join(different)}"))
        return 1
    say("the draws match the plan exactly")
    return 0


def _print_plan(plan: DrawPlan, title: str) -> None:
    columns = ("clips", "hours", "share", "draws", "epochs", "hours drawn")
    table = result_table(title, left=("domain", "source"), right=columns)

    for total in plan.domains():
        members = [source for source in plan.sources if source.domain == total.domain]
        for row in [*members, total] if len(members) > 1 else members:
            parts = [row] if row.source else members
            hours_drawn = sum(part.epochs * part.hours for part in parts)
            table.add_row(
                row.domain,
                row.source or "all",
                f"{row.samples}",
                f"{row.hours:.2f}",
                f"{row.share:.2%}",
                f"{row.draws}",
                f"{row.epochs:.2f}",
                f"{hours_drawn:.2f}",
                style=None if row.source else "bold",
            )
    print_result(table)
