"""One self-contained HTML page about one or several runs. It asks nothing of the network and needs no script."""

from collections.abc import Sequence
from pathlib import Path

from surgrec.report.corpus_section import corpus_section
from surgrec.report.evaluation_section import evaluation_section
from surgrec.report.html import Markup, document, element, note, table
from surgrec.report.pictures_section import pictures_section
from surgrec.report.runs import OpenedCorpora, Run, open_corpora, read_runs
from surgrec.report.style import STYLE
from surgrec.report.training_section import config_section, training_section

_COLUMNS = (
    "run",
    "recipe",
    "steps",
    "clips",
    "hours of video seen",
    "encoder parameters",
    "bad samples",
)


def write_report(run_dirs: Sequence[Path], out: Path) -> None:
    """Writes the page of these runs.

    Raises:
        ConfigError: A folder holds no run, or one that has not logged a step, or is given twice; an evaluation is not ours.
        CheckpointError: An encoder or a checkpoint is damaged.
    """
    runs = read_runs(run_dirs)
    corpora = open_corpora(runs)
    page = document(
        f"SurgRec: {', '.join(run.name for run in runs)}",
        STYLE,
        _heading(runs),
        evaluation_section(runs),
        corpus_section(corpora),
        *(_run_section(run, corpora) for run in runs),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")


def _heading(runs: Sequence[Run]) -> Markup:
    return element(
        "header",
        element("h1", "SurgRec report"),
        note("Research software, not a medical device. This page shows frames of the corpus."),
        table(_COLUMNS, map(_line, runs), words=2),
    )


def _run_section(run: Run, corpora: OpenedCorpora) -> Markup:
    pictures = pictures_section(run, corpora.of(run))
    return element("section", training_section(run), pictures, config_section(run))


def _line(run: Run) -> list[object]:
    hours = parameters = "—"
    if run.trained is not None:
        hours = f"{run.num_clips * run.trained.sampling.span_s / 3600:,.1f}"
        parameters = f"{sum(each.numel() for each in run.trained.encoder.parameters()):,}"
    steps = run.rows[-1]["step"] + 1
    recipe = run.recipe or "no encoder yet"
    return [
        run.name,
        recipe,
        f"{steps:,}",
        f"{run.num_clips:,}",
        hours,
        parameters,
        run.bad_samples,
    ]
