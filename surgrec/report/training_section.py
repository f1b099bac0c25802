"""The section on one run: its mix, its losses, what its diagnostics say, and where its time went."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from surgrec.report.html import Markup, details, element, join, note, table
from surgrec.report.plots import Bar, Line, Point, line_chart, target_chart
from surgrec.report.runs import Run

_DIAGNOSTICS = {
    "token_std": "standard deviation of the tokens",
    "rankme": "RankMe of the tokens",
    "between_clip_variance": "share of the variance that lies between clips",
}
"""What may be in a row of metrics.jsonl, and how its chart is called. Each objective looks for its own signs."""
_MOST_POINTS = 60
"""Of a smoothed line, so that a long run's page stays small."""
_FINE = 10
"""How many times more of a line that shows the scatter."""


@dataclass(frozen=True, kw_only=True)
class Log:
    """Rows of metrics.jsonl as points of charts."""

    rows: Sequence[Mapping[str, Any]]

    @property
    def window(self) -> int:
        """Steps that a smoothed line takes the mean of."""
        return max(1, -(-len(self.rows) // _MOST_POINTS))

    @property
    def of_means(self) -> str:
        """Behind the title of a chart with smoothed lines."""
        return f", mean of {self.window} steps" if self.window > 1 else ""

    @property
    def sources(self) -> list[str]:
        """Sources that were drawn."""
        return sorted({name for row in self.rows for name in row["loss_by_source"]})

    def points(self, name: str) -> list[Point]:
        """A value at the steps that have it: some are logged every few steps, or only on some machines."""
        return [(row["step"], row[name]) for row in self.rows if row.get(name) is not None]

    def of_source(self, name: str) -> list[Point]:
        """The loss of a source, at the steps that drew it."""
        return [
            (row["step"], row["loss_by_source"][name])
            for row in self.rows
            if name in row["loss_by_source"]
        ]

    def smoothed(self, name: str) -> list[Point]:
        """The means of a value."""
        return smoothed(self.points(name), self.window)


def training_section(run: Run) -> Markup:
    """All of one run but its pictures."""
    marks = {
        start["step"]: f"resumed, {start['processes']} proc."
        for start in run.starts
        if start["step"]
    }
    log, after_the_first = (
        Log(rows=run.rows),
        Log(rows=run.rows[1:] or run.rows),
    )  # the first step starts the workers
    return join(
        [
            element("h2", f"Run {run.name}"),
            element("h3", "Mix"),
            note(
                "The stroke is the target, the share over the whole run; the bar is what was consumed."
            ),
            _mix(run),
            element("h3", "Loss and diagnostics"),
            note(_how_to_read(log)),
            element("div", *_losses(log, marks), *_diagnostics(log, marks), class_="charts"),
            element("h3", "Time"),
            *_time(after_the_first),
        ]
    )


def config_section(run: Run) -> Markup:
    """The exact config of a run, folded away."""
    return details(f"Config of {run.name}", element("pre", run.config))


def smoothed(points: Sequence[Point], window: int) -> list[Point]:
    """Means of points over stretches of `window` steps that end at the last one; each stands at its stretch's last point."""
    stretches = groupby(points, key=lambda point: (points[-1][0] - point[0]) // window)
    parts = [list(part) for _, part in stretches]
    return [(part[-1][0], statistics.fmean(y for _, y in part)) for part in parts]


def _mix(run: Run) -> Markup:
    realized, planned = run.realized_shares(), run.plan["sources"]
    bars = [
        Bar(label=row["source"], value=realized.get(row["source"], 0.0), target=row["share"])
        for row in planned
        if row["share"] or row["source"] in realized
    ]
    columns = ("source", "domain", "clips", "epochs", "target", "realized")
    rows = []
    for row in planned:
        shares = (f"{row['share']:.2%}", f"{realized.get(row['source'], 0.0):.2%}")
        rows.append((row["source"], row["domain"], row["samples"], f"{row['epochs']:.1f}", *shares))
    chart = target_chart(bars, title="share of samples by source")
    return element("div", chart, table(columns, rows, words=2), class_="charts")


def _how_to_read(log: Log) -> str:
    sentences = []
    if log.points("rankme"):
        sentences.append(
            "For a JEPA, a falling loss with a falling deviation or RankMe of the tokens is collapse; a rising loss alone is not. "
            "An MAE's targets are pixels, which cannot collapse; its rank may fall and rise again."
        )
    if log.points("mean_baseline_loss"):
        sentences.append(
            "Dashed: what predicting the mean color of each tubelet would cost, on the clips of some steps."
        )
    return " ".join(sentences)


def _losses(log: Log, marks: Mapping[int, str]) -> list[Markup]:
    scatter = Line(points=smoothed(log.points("loss"), max(1, log.window // _FINE)))
    lines = [scatter, Line(points=log.smoothed("loss"), label="loss")]
    of_mean = log.points("mean_baseline_loss")
    if of_mean:  # of single batches: it takes more steps until the mean is steady
        lines.append(
            Line(
                points=smoothed(of_mean, _FINE * log.window), label="of the mean color", dashed=True
            )
        )
    by_source = [
        Line(points=smoothed(log.of_source(name), log.window), label=name) for name in log.sources
    ]
    return [
        line_chart(lines, title=f"loss{log.of_means}", marks=marks),
        line_chart(by_source, title=f"loss by source{log.of_means}", marks=marks),
    ]


def _diagnostics(log: Log, marks: Mapping[int, str]) -> list[Markup]:
    return [
        line_chart([Line(points=log.smoothed(name), label=title)], title=title, marks=marks)
        for name, title in _DIAGNOSTICS.items()
        if log.points(name)
    ]


def _time(log: Log) -> list[Markup]:
    waiting = sum(row["data_wait_s"] for row in log.rows) / sum(row["step_s"] for row in log.rows)
    speed = statistics.median(row["clips_per_s"] for row in log.rows)
    words = f"Median {speed:.1f} clips/s; {waiting:.1%} of the time was spent waiting for data."
    speeds = [Line(points=log.smoothed("clips_per_s"), label="clips per second")]
    seconds = [
        Line(points=log.smoothed("step_s"), label="step"),
        Line(points=log.smoothed("data_wait_s"), label="wait for data"),
    ]
    charts = [
        line_chart(speeds, title=f"clips per second{log.of_means}"),
        line_chart(seconds, title=f"seconds per step{log.of_means}"),
    ]
    shares = log.points("mfu")
    if shares:
        words += f" Median model FLOP utilization: {statistics.median(share for _, share in shares):.1%}."
        utilization = [Line(points=log.smoothed("mfu"), label="MFU")]
        charts.append(line_chart(utilization, title=f"model FLOP utilization{log.of_means}"))
    return [note(words), _time_bar(waiting), element("div", *charts, class_="charts")]


def _time_bar(waiting: float) -> Markup:
    """Where the time went, as one bar."""
    parts = (("waiting for data", waiting, "wait"), ("everything else", 1 - waiting, "work"))
    bar = (element("i", class_=kind, style=f"width: {share:.2%}") for _, share, kind in parts)
    legend = (
        element("span", element("i", class_=kind), f"{words} {share:.1%}")
        for words, share, kind in parts
    )
    return join([element("div", *bar, class_="bar"), element("p", *legend, class_="legend")])
