"""Write a report: one HTML file without scripts and without network requests."""

from collections.abc import Sequence
from pathlib import Path

from surgrec.report._corpus_section import corpus_section
from surgrec.report._evaluation_section import evaluation_section
from surgrec.report._html import render
from surgrec.report._logged_run import LoggedRun, open_corpora, read_runs
from surgrec.report._pictures_section import pictures_section
from surgrec.report._training_section import training_section


def write_report(run_dirs: Sequence[Path], out: Path) -> None:
    """Write one page about one or several runs. The same inputs give the same bytes.

    Args:
        run_dirs: Folders of the runs, in the order in which the page shows them.
        out: HTML file to write. Missing parent folders are created.

    Raises:
        ConfigError: A folder has no logged step or is given twice, or an evaluation file has an
            unknown format.
        CheckpointError: An encoder or a checkpoint is damaged.

    Example:
        >>> write_report([Path("runs/jepa"), Path("runs/mae")], Path("report.html"))
    """
    runs = read_runs(run_dirs)
    corpora = open_corpora(runs)

    page = render(
        "report.html.j2",
        runs=runs,
        overview=[_overview(run) for run in runs],
        evaluation=evaluation_section(runs),
        corpus=corpus_section(corpora),
        sections=[
            (run, training_section(run), pictures_section(run, corpora.sources_of(run)))
            for run in runs
        ],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _overview(run: LoggedRun) -> list[str]:
    """Return a run's row of the table at the top of the page."""
    hours = num_parameters = "—"
    if run.trained is not None:
        hours = f"{run.num_clips * run.trained.sampling.span_s / 3600:,.1f}"
        num_parameters = f"{sum(each.numel() for each in run.trained.encoder.parameters()):,}"

    num_steps = run.rows[-1]["step"] + 1
    return [
        run.name,
        run.recipe or "no encoder yet",
        f"{num_steps:,}",
        f"{run.num_clips:,}",
        hours,
        num_parameters,
        f"{run.num_bad_samples:,}",
    ]
