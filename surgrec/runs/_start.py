"""The record of a start: config, draw plan, and one row per start."""

from collections.abc import Sequence
from pathlib import Path

from surgrec import __version__
from surgrec.cli import write_yaml
from surgrec.runs._files import RunFiles
from surgrec.runs._plan import print_plan, write_plan
from surgrec.runs._rows import read_rows, replace_rows
from surgrec.stream import DrawPlan, Stream
from surgrec.terminal import escape, warn


def record_start(
    run_dir: Path,
    config: object,
    stream: Stream | None,
    *,
    positions: int = 0,
    first_step: int,
    processes: int,
    tuned: Sequence[str] = (),
) -> None:
    """Write config.yaml and a row of starts.jsonl; of a stream, also plan.json, and print it.

    Call this only after every check has passed: a refused start changes nothing in the folder.

    Args:
        run_dir: Folder of the run.
        config: The recipe's config.
        stream: Order of the samples; None for a recipe without one.
        positions: Positions of the stream that the whole run draws.
        first_step: Step at which this start begins.
        processes: Number of processes.
        tuned: Changes of the optimizer since the last start, one line each.
    """
    files = RunFiles(run_dir)
    plan = None if stream is None else DrawPlan.for_positions(stream, positions)

    write_yaml(config, files.config)
    if stream is not None and plan is not None:
        corpora = sorted({source.store.address for source in stream.sources.values()})
        write_plan(run_dir, corpora, plan)
    start = {"step": first_step, "processes": processes, "surgrec": __version__}
    if tuned:
        start["tuned"] = list(tuned)
    # Write all rows anew: a row that a kill cut short would otherwise stay between the others.
    replace_rows(files.starts, [*read_rows(files.starts), start])

    if plan is None:
        return
    print_plan(plan)
    if warning := plan.repeats_warning():
        warn(escape(warning))
