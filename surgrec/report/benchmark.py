"""Write the page of a benchmark: one HTML file without scripts and without network requests."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.comparisons import Table
from surgrec.report._html import render
from surgrec.report._plots import COLORS, Chart, Interval, interval_chart
from surgrec.scores import LEVEL
from surgrec.storage import open_store

__all__ = [
    "BenchmarkCell",
    "BenchmarkPage",
    "BenchmarkRow",
    "BenchmarkSection",
    "Interval",
    "method_colors",
    "write_benchmark",
]


@dataclass(frozen=True, kw_only=True)
class BenchmarkCell:
    """A method on a task, as text."""

    score: str = ""
    """Empty: it has none."""
    interval: str = ""
    marks: list[str] = field(default_factory=list)
    """Words beside the score, such as `degenerate` or `no score`."""
    rank: str = ""
    is_best: bool = False


@dataclass(frozen=True, kw_only=True)
class BenchmarkRow:
    """A task with a cell for each method."""

    name: str
    title: str
    facts: str
    """Metric, split, number of test cases."""
    cells: list[BenchmarkCell]
    flags: list[str]
    """Short warnings: legacy, incomplete copy, findings, overrides."""
    link: str = ""
    """Page of the comparison; empty if there is none."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkSection:
    """Everything about one task."""

    name: str
    title: str
    facts: list[tuple[str, str]]
    """Names and texts: metric, split, license, source, digests."""
    sentences: list[str]
    """Sentences to read before the scores: failures, overrides, incomplete parts."""
    findings: list[str]
    notes: list[str]
    """Traps that are handled, and faults of published protocols."""
    links: list[tuple[str, str]]
    """Texts and addresses of other pages."""
    protocol: str = ""


@dataclass(frozen=True, kw_only=True)
class BenchmarkPage:
    """The content of the page."""

    methods: list[str]
    sentences: list[str]
    """Sentences to read first."""
    groups: list[tuple[str, list[BenchmarkRow]]]
    """Rows by clinical domain; legacy rows are a group of their own."""
    tables: list[Table]
    """Ranks and wins over all tasks and for each domain."""
    charts: list[tuple[str, dict[str, list[Interval]]]]
    """For each metric, its name and the intervals of its tasks."""
    sections: list[BenchmarkSection]
    links: list[tuple[str, str]]
    """Texts and addresses of the tables of all tasks."""
    command: str
    """The command that continues or extends the benchmark."""
    version: str
    """Version of SurgRec."""


def write_benchmark(page: BenchmarkPage, out: Path) -> None:
    """Write the page of a benchmark. The same content gives the same bytes.

    Args:
        page: The content. Texts are escaped.
        out: HTML file to write, beside the folders that the page links to.
    """
    # A task whose test cases share patients or centers draws those.
    interval = f"{LEVEL:.0%} interval over cases, or their patients or centers"
    charts: list[Chart] = [
        interval_chart(groups, title=f"{metric}, {interval}", chart_id=f"metric {number}")
        for number, (metric, groups) in enumerate(page.charts)
    ]
    text = render("benchmark.html.j2", page=page, charts=charts)
    open_store(out.parent).write(out.name, f"{text}\n".encode())


def method_colors(methods: Sequence[str]) -> dict[str, str]:
    """Return the color of each method in charts."""
    return {name: COLORS[number % len(COLORS)] for number, name in enumerate(methods)}
