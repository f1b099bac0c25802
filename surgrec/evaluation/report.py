"""One self-contained HTML page about a run: what it saw, how it went, where the time went. It asks nothing of the network."""

import base64
import html
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surgrec.errors import ConfigError
from surgrec.evaluation.charts import Point, bar_chart, line_chart
from surgrec.evaluation.contact_sheet import contact_sheet
from surgrec.shards.corpus import Source, open_corpus
from surgrec.training.plan import CONFIG_FILE, read_plan
from surgrec.training.rows import METRICS_FILE, STARTS_FILE, read_rows

_DIAGNOSTICS = {
    "target_std": "target standard deviation, before the norm",
    "rankme": "RankMe of the target tokens",
    "loss_of_mean": "loss of predicting each tubelet's mean",
}
"""What may be in a row of metrics.jsonl, and how its chart is called."""

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2530; background: #fafbfc; margin: 0 auto; max-width: 1180px; padding: 24px }
h1 { font-size: 26px; margin: 0 } h2 { font-size: 18px; margin: 36px 0 8px } .note { color: #5a6675; margin: 2px 0 12px }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; align-self: start }
th, td { padding: 3px 14px 3px 0; text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
thead th { border-bottom: 1px solid #c8d0da; font-weight: 600 }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 18px } figure { margin: 0 }
svg { width: 100%; background: #fff; border: 1px solid #e3e8ee; border-radius: 6px } .grid { stroke: #e9edf2 }
.tick { font: 11px system-ui, sans-serif; fill: #5a6675 } .label { font: 600 12px system-ui, sans-serif; fill: #1d2530 }
.mark { stroke: #a63d57; stroke-dasharray: 4 3 } .legend span { margin-right: 14px; font-size: 13px }
.legend i { display: inline-block; width: 10px; height: 10px; margin-right: 5px; border-radius: 2px }
.sheet img { width: 100%; border-radius: 6px; display: block }
pre { background: #fff; border: 1px solid #e3e8ee; padding: 12px; overflow: auto }
"""


def write_report(run_dir: Path, out: Path) -> None:
    """Writes the page of a run.

    Raises:
        ConfigError: The folder holds no run, or one that has not logged a step.
        StorageError: A corpus of the run cannot be read.
    """
    rows = read_rows(run_dir / METRICS_FILE)
    if not rows:
        raise ConfigError(f"{run_dir} holds no run that has logged a step (no rows in {METRICS_FILE})")
    plan = read_plan(run_dir)
    sources = open_corpus(plan["corpora"])
    body = "\n".join(
        [
            _heading(run_dir, rows),
            _corpus(sources),
            _mix(plan["sources"], rows),
            _training(rows, read_rows(run_dir / STARTS_FILE)),
            _time(rows),
            f"<h2>Config</h2><pre>{html.escape((run_dir / CONFIG_FILE).read_text(encoding='utf-8'))}</pre>",
        ]
    )
    page = f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>SurgRec: {html.escape(run_dir.name)}</title>'
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(f"{page}\n<style>{_STYLE}</style>\n<body>{body}</body></html>\n", encoding="utf-8")


def realised_shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of each source among all samples that were consumed."""
    consumed: Counter[str] = Counter()
    for row in rows:
        consumed.update(row["consumed"])
    return {source: count / consumed.total() for source, count in sorted(consumed.items())}


def _heading(run_dir: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    last = rows[-1]
    clips = sum(sum(row["consumed"].values()) for row in rows)
    bad = sum(last["quarantined"].values())
    return (
        f"<h1>SurgRec run: {html.escape(run_dir.name)}</h1><p class='note'>{last['step'] + 1} steps, {clips} clips, "
        f"{bad} bad samples since the last start. Research software, not a medical device.</p>"
    )


def _corpus(sources: Mapping[str, Source]) -> str:
    columns = ("source", "domain", "videos", "cases", "clips", "hours", "MB")
    lines = [
        _row(
            [
                name,
                source.entry.domain,
                *(source.entry.videos, source.entry.cases, source.entry.samples),
                f"{source.entry.hours:.2f}",
                f"{source.entry.bytes / 1e6:.1f}",
            ]
        )
        for name, source in sources.items()
    ]
    sheets = "".join(_sheet(source) for source in sources.values())
    return f"<h2>Corpus</h2><table><thead>{_row(columns, 'th')}</thead>{''.join(lines)}</table>{sheets}"


def _sheet(source: Source) -> str:
    picture = base64.b64encode(contact_sheet(source)).decode("ascii")
    name = html.escape(source.name)
    return (
        f'<h2>{name}</h2><div class="sheet"><img alt="frames of {name}" src="data:image/jpeg;base64,{picture}"></div>'
    )


def _mix(plan: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]]) -> str:
    realised = realised_shares(rows)
    bars = {row["source"]: {"target": row["share"], "realised": realised.get(row["source"], 0.0)} for row in plan}
    lines = [
        _row(
            [
                row["source"],
                row["domain"],
                row["samples"],
                f"{row['share']:.2%}",
                f"{realised.get(row['source'], 0):.2%}",
            ]
        )
        for row in plan
    ]
    head = _row(("source", "domain", "clips to draw", "target", "realised"), "th")
    return (
        "<h2>Mix</h2><p class='note'>Target: what every block of the order holds. Realised: what was consumed.</p>"
        f"<div class='charts'>{bar_chart(bars, y_label='share of samples')}"
        f"<table><thead>{head}</thead>{''.join(lines)}</table></div>"
    )


def _training(rows: Sequence[Mapping[str, Any]], starts: Sequence[Mapping[str, Any]]) -> str:
    marks = {start["step"]: f"resumed, {start['processes']} proc." for start in starts if start["step"]}
    by_source = sorted({source for row in rows for source in row["loss_by_source"]})
    loss = {"loss": [(row["step"], row["loss"]) for row in rows]}
    per_source = {
        source: _smoothed(
            [(row["step"], row["loss_by_source"][source]) for row in rows if source in row["loss_by_source"]]
        )
        for source in by_source
    }
    charts = [
        line_chart(loss, x_label="step", y_label="loss", marks=marks),
        line_chart(per_source, x_label="step", y_label="loss by source, mean of 10 steps", marks=marks),
    ]
    for name, label in _DIAGNOSTICS.items():
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:  # each objective looks for its own signs
            charts.append(line_chart({name: points}, x_label="step", y_label=label, marks=marks))
    note = "A falling loss with a falling target deviation or RankMe is collapse; a rising loss alone is not."
    return f"<h2>Training</h2><p class='note'>{note}</p><div class='charts'>{''.join(charts)}</div>"


def _time(rows: Sequence[Mapping[str, Any]]) -> str:
    steady = rows[1:] or rows
    share = sum(row["data_wait_s"] for row in steady) / sum(row["step_s"] for row in steady)
    speed = {"clips/s": _smoothed([(row["step"], row["clips_per_s"]) for row in steady])}
    wait = {
        "step": _smoothed([(row["step"], row["step_s"]) for row in steady]),
        "wait for data": _smoothed([(row["step"], row["data_wait_s"]) for row in steady]),
    }
    median = statistics.median(row["clips_per_s"] for row in steady)
    charts = (
        line_chart(speed, x_label="step", y_label="clips per second, mean of 10 steps"),
        line_chart(wait, x_label="step", y_label="seconds per step, mean of 10 steps"),
    )
    note = f"Median {median:.1f} clips/s; {share:.1%} of the time was spent waiting for data."
    return f"<h2>Time</h2><p class='note'>{note}</p><div class='charts'>{''.join(charts)}</div>"


def _smoothed(points: Sequence[Point], window: int = 10) -> list[Point]:
    """Means of successive windows, at the last x of each."""
    windows = [points[start : start + window] for start in range(0, len(points), window)]
    return [(part[-1][0], statistics.fmean(y for _, y in part)) for part in windows]


def _row(cells: Sequence[object], tag: str = "td") -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"
