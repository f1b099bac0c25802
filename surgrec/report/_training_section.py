"""Draw the section about one run: its mixture, losses, diagnostics and speed."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isfinite
from typing import Any

from markupsafe import Markup

from surgrec.evaluation import CLASSIFIER_LABELS
from surgrec.report._html import render
from surgrec.report._logged_run import LoggedRun
from surgrec.report._plots import Bar, Chart, Line, Point, line_chart, target_chart
from surgrec.runs import consumed_samples
from surgrec.scores import PRIMARY

_DIAGNOSTICS = {
    "token_std": "standard deviation of the tokens",
    "rankme": "RankMe of the tokens",
    "between_clip_variance": "share of the variance that lies between clips",
    "gradient_norm": "norm of the gradient before clipping",
    "update_ratio": "norm of an update over the norm of the weights",
}
"""Diagnostics in rows of metrics.jsonl, with chart titles. Each objective logs some of them."""

_MAX_POINTS = 60
"""Points of a smoothed line: the page of a long run stays small."""

_FINE = 10
"""Points of the line that shows the scatter, for each point of a smoothed line."""


_MOST_SOURCES = 40
"""Sources in a chart: those of which most clips were drawn. The table lists all sources."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """Rows of metrics.jsonl as points of charts."""

    rows: Sequence[Mapping[str, Any]]

    @property
    def window(self) -> int:
        """Number of steps per point of a smoothed line."""
        return max(1, -(-len(self.rows) // _MAX_POINTS))

    @property
    def title_end(self) -> str:
        """End of the title of a chart with smoothed lines."""
        return f", mean of {self.window} steps" if self.window > 1 else ""

    @property
    def sources(self) -> list[str]:
        """Names of the sources that were drawn."""
        return sorted({name for row in self.rows for name in row["loss_by_source"]})

    def shown_sources(self, names: Sequence[str]) -> tuple[list[str], str]:
        """Return the sources that a chart shows, and the end of its title."""
        consumed = consumed_samples(self.rows)
        shown = sorted(names, key=lambda name: -consumed[name])[:_MOST_SOURCES]
        kept = [name for name in names if name in set(shown)]
        if len(kept) == len(names):
            return kept, ""
        return kept, f", {len(kept)} of {len(names):,} sources"

    def points(self, name: str) -> list[Point]:
        """Return a value at the steps that logged it, without those at which it was not finite.

        Some values are not logged at every step.
        """
        values = [(row["step"], row.get(name)) for row in self.rows]
        return [(step, value) for step, value in values if value is not None and isfinite(value)]

    def source_loss(self, name: str) -> list[Point]:
        """Return the loss of a source at the steps that drew from it."""
        return [
            (row["step"], row["loss_by_source"][name])
            for row in self.rows
            if name in row["loss_by_source"] and isfinite(row["loss_by_source"][name])
        ]

    def smoothed(self, name: str) -> list[Point]:
        """Return means of a value over `window` steps."""
        return smooth(self.points(name), self.window)


def training_section(run: LoggedRun) -> Markup:
    """Return the charts of one run, each with a sentence on how to read it."""
    log = Log(rows=run.rows)
    marks = {
        start["step"]: f"resumed, {start['processes']} proc."
        for start in run.starts
        if start["step"]
    }

    # The first step starts the workers, so it is left out of the times.
    timed = Log(rows=run.rows[1:] or run.rows)
    total_s = sum(row["step_s"] for row in timed.rows)
    waiting = sum(row["data_wait_s"] for row in timed.rows) / total_s if total_s > 0 else 0.0

    return render(
        "training.html.j2",
        run=run,
        shares=_share_rows(run),
        shares_chart=_share_chart(run, log),
        loss_charts=[*_loss_charts(run, log, marks), *_diagnostic_charts(run, log, marks)],
        has_rankme=bool(log.points("rankme")),
        mean_baseline=_mean_baseline(log) if log.points("mean_baseline_loss") else None,
        clips_per_s=statistics.median(row["clips_per_s"] for row in timed.rows),
        waiting=min(max(waiting, 0.0), 1.0),
        mfu=_median([value for _, value in timed.points("mfu")]),
        time_charts=_time_charts(run, timed),
        alarms=[[row["step"], row["text"]] for row in run.watched.alarms],
        watch_charts=_watch_charts(run, marks),
    )


def smooth(points: Sequence[Point], window: int) -> list[Point]:
    """Return means of points over spans of `window` steps, counted back from the last point.

    The mean of a span is at the span's last point. Spans without a point are left out.
    """
    spans = groupby(points, key=lambda point: (points[-1][0] - point[0]) // window)
    parts = [list(part) for _, part in spans]
    return [(part[-1][0], sum(y for _, y in part) / len(part)) for part in parts]


def _share_chart(run: LoggedRun, log: Log) -> Chart:
    realized = run.realized_shares()
    targets = {
        row["source"]: row["share"]
        for row in run.plan["sources"]
        if row["share"] or row["source"] in realized
    }
    targets |= dict.fromkeys(realized.keys() - targets.keys(), 0.0)
    shown, title_end = log.shown_sources(sorted(targets))
    bars = [Bar(label=name, value=realized.get(name, 0.0), target=targets[name]) for name in shown]
    title = f"share of samples by source{title_end}"
    return target_chart(bars, title=title, chart_id=f"{run.name}: shares")


def _share_rows(run: LoggedRun) -> list[list[object]]:
    realized = run.realized_shares()
    return [
        [
            row["source"],
            row["domain"],
            row["samples"],
            f"{row['epochs']:.1f}",
            f"{row['share']:.2%}",
            f"{realized.get(row['source'], 0.0):.2%}",
        ]
        for row in run.plan["sources"]
    ]


def _loss_charts(run: LoggedRun, log: Log, marks: Mapping[int, str]) -> list[Chart]:
    scatter = smooth(log.points("loss"), max(1, log.window // _FINE))
    lines = [Line(points=scatter), Line(points=log.smoothed("loss"), label="loss")]

    # The baseline is measured on single batches, so its mean needs more steps to be steady.
    baseline = log.points("mean_baseline_loss")
    if baseline:
        points = smooth(baseline, _FINE * log.window)
        label = "mean target baseline" if log.points("momentum") else "mean color baseline"
        lines.append(Line(points=points, label=label, dashed=True))

    shown, title_end = log.shown_sources(log.sources)
    by_source = [
        Line(points=smooth(log.source_loss(name), log.window), label=name) for name in shown
    ]
    titles = {"loss": lines, f"loss by source{title_end}": by_source}
    return [
        line_chart(each, title=title + log.title_end, chart_id=f"{run.name}: {title}", marks=marks)
        for title, each in titles.items()
    ]


def _mean_baseline(log: Log) -> str:
    """Name the prediction of the loss's baseline. Targets of a JEPA are features."""
    return "mean target" if log.points("momentum") else "mean color of each tubelet"


def _diagnostic_charts(run: LoggedRun, log: Log, marks: Mapping[int, str]) -> list[Chart]:
    return [
        line_chart(
            [Line(points=log.smoothed(name), label=title)],
            title=title + log.title_end,
            chart_id=f"{run.name}: {title}",
            marks=marks,
        )
        for name, title in _DIAGNOSTICS.items()
        if log.points(name)
    ]


def _watch_charts(run: LoggedRun, marks: Mapping[int, str]) -> list[Chart]:
    """Draw the scores of the probes and the drift over the steps, with the alarms as marks."""
    marks = {**marks, **{row["step"]: f"alarm: {row['kind']}" for row in run.watched.alarms}}
    charts = {}

    probes = run.watched.probes
    if probes:
        names = ("knn", "logistic", "majority")
        charts["macro F1 of the probe on held-out cases"] = [
            Line(
                points=[(row["step"], row[name][PRIMARY]) for row in probes],
                label=CLASSIFIER_LABELS[name],
                dashed=name == "majority",
            )
            for name in names
        ]

    drift = run.watched.drift
    if drift:
        charts["similarity of the features to those of the start"] = [
            Line(points=[(row["step"], row[name]) for row in drift], label=label)
            for name, label in (("cosine", "cosine"), ("cka", "CKA"))
        ]
    return [
        line_chart(lines, title=title, chart_id=f"{run.name}: {title}", marks=marks)
        for title, lines in charts.items()
    ]


def _time_charts(run: LoggedRun, log: Log) -> list[Chart]:
    speed = [Line(points=log.smoothed("clips_per_s"), label="clips per second")]
    seconds = [
        Line(points=log.smoothed("step_s"), label="step"),
        Line(points=log.smoothed("data_wait_s"), label="wait for data"),
    ]
    titles = {"clips per second": speed, "seconds per step": seconds}
    if log.points("mfu"):
        titles["model FLOP utilization"] = [Line(points=log.smoothed("mfu"), label="MFU")]

    return [
        line_chart(lines, title=title + log.title_end, chart_id=f"{run.name}: {title}")
        for title, lines in titles.items()
    ]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
