"""The page of a benchmark, from its rows."""

import math
from collections.abc import Mapping, Sequence

from surgrec import __version__
from surgrec.bench._bench import COMPARISON, Bench
from surgrec.bench._copies import is_incomplete
from surgrec.bench._names import check_file, dedup_file
from surgrec.bench._page_tables import ablation_tables, standing_tables
from surgrec.bench._results import Score
from surgrec.bench._runner import Outcome
from surgrec.bench._tables import Cell, TaskRow
from surgrec.bench.summary import TABLE, Summary, legacy_sentences
from surgrec.comparisons import number
from surgrec.report.benchmark import (
    BenchmarkCell,
    BenchmarkPage,
    BenchmarkRow,
    BenchmarkSection,
    Interval,
    method_colors,
    write_benchmark,
)
from surgrec.scores.kinds import metric_name
from surgrec.tasks import PAPER_DOMAINS
from surgrec.text import counted

PAGE = "index.html"
_OVER_RANDOM = {
    "better": "above random",
    "worse": "below random",
    "not shown": "not shown above random",
}
"""Words for the verdict over the same architecture with random weights."""
_LEGACY = "published protocols, for comparison only"


def write_page(
    bench: Bench, outcomes: Mapping[str, Outcome], summary: Summary, command: str
) -> None:
    """Write `index.html`. The same results and command give the same bytes.

    Args:
        bench: The benchmark.
        outcomes: How its steps ended.
        summary: Its rows.
        command: The command that continues it.
    """
    write_benchmark(_page(bench, outcomes, summary, command), bench.out / PAGE)


def _page(
    bench: Bench, outcomes: Mapping[str, Outcome], summary: Summary, command: str
) -> BenchmarkPage:
    rows = summary.rows
    compared = outcomes.get(f"compare/{COMPARISON}")

    links = [("scores of all tasks as CSV", TABLE)]
    if compared and compared.is_done:
        links.append(("comparison over all tasks", f"{COMPARISON}/comparison.html"))
    return BenchmarkPage(
        methods=summary.methods,
        sentences=_first_sentences(bench, outcomes, rows),
        groups=[
            (domain, [_row(row) for row in summary.shown if _group(row) == domain])
            for domain in dict.fromkeys(
                map(_group, sorted(rows, key=lambda row: row.task.card.legacy))
            )
        ],
        tables=[*ablation_tables(bench.arms, summary), *standing_tables(summary)],
        charts=_charts(summary),
        sections=[_section(row) for row in rows],
        links=links,
        command=command,
        version=__version__,
    )


def _first_sentences(
    bench: Bench, outcomes: Mapping[str, Outcome], rows: Sequence[TaskRow]
) -> list[str]:
    """Return what is to be read before the scores: failures, and what an option allowed."""
    # One cause may fail many steps, and is told once.
    failed: dict[str, list[str]] = {}
    for outcome in outcomes.values():
        if outcome.state == "failed":
            failed.setdefault(outcome.sentence, []).append(outcome.step.name)
    sentences = [f"{', '.join(steps)} failed: {sentence}" for sentence, steps in failed.items()]

    incomplete = {row.task.data_set for row in rows if is_incomplete(row.incomplete)}
    if bench.allow_incomplete and incomplete:
        sentences.append(
            "allowed by --allow_incomplete: not complete are the copies of "
            + ", ".join(sorted(incomplete))
        )

    degenerate = [
        f"{cell.method} on {row.task.name}"
        for row in rows
        for cell in row.cells
        if cell.score and cell.score.degenerate
    ]
    if degenerate:
        sentences.append(
            "degenerate, because all test windows have the same prediction: "
            + ", ".join(degenerate)
        )
    return [*sentences, *legacy_sentences(rows)]


def _group(row: TaskRow) -> str:
    """Return the domain of a row in words; the paper of SurgRec has four of them."""
    card = row.task.card
    if card.legacy:
        return _LEGACY
    return card.domain if card.domain in PAPER_DOMAINS else f"{card.domain} (not of the paper)"


def _row(row: TaskRow) -> BenchmarkRow:
    card = row.task.card

    # The facts beside the title: metric, split and size.
    facts = [metric_name(card.metric), f"split {row.split}"]
    if row.num_cases:
        facts.append(counted(row.num_cases, "test case"))
        windows = counted(row.num_windows, "window")
        scored = f"{counted(row.num_videos, 'video')} scored by the means of {windows}"
        facts.append(scored if card.scope == "video" else windows)

    # The flags: reasons to read the section of the task before its score.
    flags = ["legacy: not to be trusted"] if card.legacy else []
    flags += ["incomplete copy"] if is_incomplete(row.incomplete) else []
    flags += ["something left out"] if row.losses else []
    failing = row.num_failing
    warnings = len(row.findings) - failing
    flags += [f"audit: {counted(failing, 'finding fails', 'findings fail')}"] if failing else []
    flags += [f"audit: {counted(warnings, 'warning')}"] if warnings else []
    flags += [counted(len(row.overrides), "override")] if row.overrides else []
    flags += ["blocked"] if card.blocked else []

    return BenchmarkRow(
        name=row.name,
        title=card.title,
        facts=", ".join(facts),
        cells=[
            BenchmarkCell(marks=["never scored"]) if card.legacy else _cell(cell)
            for cell in row.cells
        ],
        flags=flags,
        link=_comparison_page(row) if row.is_compared else "",
    )


def _cell(cell: Cell) -> BenchmarkCell:
    score = cell.score
    if score is None:
        return BenchmarkCell(marks=["no score"])
    marks = ["degenerate"] if score.degenerate else []
    if cell.verdict:
        marks.append(_OVER_RANDOM[cell.verdict])
    return BenchmarkCell(
        score=number(score.value),
        interval=f"{number(score.low)} to {number(score.high)}" if _has_interval(score) else "",
        marks=marks,
        rank="" if cell.rank is None else f"{cell.rank:g}",
        is_best=cell.rank == 1,
    )


def _section(row: TaskRow) -> BenchmarkSection:
    card, name = row.task.card, row.task.name

    # Sentences: why there is no score, and what an option allowed.
    sentences = [row.sentence] if row.sentence else []
    if card.legacy:
        sentences.append(
            f"a published protocol, for comparison only: {card.legacy_reason}"
            + (f" Use {', '.join(card.audited)} instead." if card.audited else "")
        )
    sentences += [
        f"{cell.method} has no score: {cell.sentence}"
        for cell in row.cells
        if cell.score is None and not row.sentence
    ]
    sentences += [*row.overrides, *row.losses, *row.incomplete]

    # Links, to files that the steps of the task have written.
    links = [("comparison", _comparison_page(row))] if row.is_compared else []
    links += [("audit", f"tasks/{name}/audit.html")] if row.has_audit else []
    if row.has_audit and row.task.split:
        links.append(("near-duplicates", dedup_file(row.task, "html")))
    links += [("check of the copy", check_file(row.task))] if row.task.split else []

    return BenchmarkSection(
        name=name,
        title=card.title,
        facts=[
            ("domain", card.domain),
            ("metric", metric_name(card.metric)),
            ("split", f"{row.split}; {card.split.source}"),
            ("license", card.license),
            *((f"SHA-256 of {what}", digest) for what, digest in row.digests.items()),
        ],
        sentences=sentences,
        findings=row.findings,
        notes=[
            *(f"Protocol of {name}: {each}" for name, each in row.vlm_protocols.items()),
            *(f"Handled: {each}" for each in card.handled),
            *(f"Published protocols: {each}" for each in card.faults),
            *(f"Limit: {each}" for each in card.limits),
            *(f"Pretraining corpus with these videos: {each}" for each in card.pretraining),
            *(f"Overlap: {overlap.sentence()}" for overlap in card.overlaps),
        ],
        links=links,
        protocol=row.protocol,
    )


def _charts(summary: Summary) -> list[tuple[str, dict[str, list[Interval]]]]:
    """Return the intervals of the tasks of each metric."""
    colors = method_colors(summary.methods)
    charts: dict[str, dict[str, list[Interval]]] = {}
    for row in summary.cards:
        intervals = [
            Interval(
                label=cell.method,
                value=cell.score.value,
                low=cell.score.low if _has_interval(cell.score) else cell.score.value,
                high=cell.score.high if _has_interval(cell.score) else cell.score.value,
                color=colors[cell.method],
            )
            for cell in row.cells
            if cell.score and math.isfinite(cell.score.value)
        ]
        if intervals:
            charts.setdefault(metric_name(row.task.card.metric), {})[row.name] = intervals
    return list(charts.items())


def _comparison_page(row: TaskRow) -> str:
    if row.folds:
        return f"{COMPARISON}/comparison.html"
    return f"tasks/{row.task.name}/{COMPARISON}/comparison.html"


def _has_interval(score: Score) -> bool:
    return math.isfinite(score.low) and math.isfinite(score.high)
