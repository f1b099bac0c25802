"""Write the page of a comparison: one HTML file without scripts and without network requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from sklearn.calibration import calibration_curve

from surgrec.comparisons import Comparison, DataSet, Row, Table, comparison_tables
from surgrec.report._comparison_charts import (
    Differences,
    Strip,
    class_colors,
    confusion_chart,
    difference_chart,
    reliability_chart,
    strip_chart,
)
from surgrec.report._html import render
from surgrec.report._plots import COLORS, Chart, Interval, interval_chart
from surgrec.scores import LEVEL, confusion_matrix
from surgrec.scores.classification import NO_CLASS
from surgrec.scores.kinds import metric_name
from surgrec.text import counted

_STRIPS = 5
"""Videos whose predictions are shown over time, from the worst to the best case."""
_BINS = 10
"""Bins of confidence, equally wide."""
_FEATURE_COLORS = {
    "trained": COLORS[0],
    "random": COLORS[1],
    "pixels": COLORS[2],
    "none": COLORS[7],
}


@dataclass(frozen=True, kw_only=True)
class _Section:
    """Everything about one data set."""

    name: str
    size: str
    """The scored units, in text: `420 test windows of 12 cases`."""
    unit: str
    """`window` or `video`."""
    scores_chart: Chart
    differences: Chart
    tables: list[Table]
    origin: Table
    confusions: list[Chart]
    strips: list[Chart]
    reliability: Chart | None
    """None if no method has probabilities."""
    legend: list[tuple[str, str]]
    """Name and color of each class."""


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write one page about a comparison. The same inputs give the same bytes.

    Args:
        comparison: The comparison.
        out: HTML file to write. Missing parent folders are created.

    Example:
        >>> write_comparison(compare(["runs/a", "runs/b"]), Path("comparison.html"))
    """
    tables = comparison_tables(comparison)
    page = render(
        "comparison.html.j2",
        methods=comparison.methods,
        standings=[*tables.standings, *tables.folds],
        sentences=[*comparison.overrides, *comparison.left_out],
        verdicts=tables.verdicts,
        sections=[
            _section(each.data_set, each.tables, each.origin, number)
            for number, each in enumerate(tables.data_sets)
        ],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page + "\n", encoding="utf-8")


def _section(data_set: DataSet, tables: Sequence[Table], origin: Table, number: int) -> _Section:
    # Charts of classes need one class per window.
    class_rows = data_set.primary_rows if data_set.kind.has_one_class else []
    unit = data_set.group.first.unit

    return _Section(
        name=data_set.name,
        size=f"{counted(len(data_set.scored.case), f'test {unit}')} of "
        f"{counted(data_set.scored.num_cases, 'case')}",
        unit=unit,
        scores_chart=interval_chart(
            _intervals(data_set),
            title=f"{metric_name(data_set.kind.primary)}, {LEVEL:.0%} interval over "
            f"{data_set.units.name}",
            chart_id=f"scores {number}",
        ),
        differences=_difference_chart(data_set, number),
        tables=list(tables),
        origin=origin,
        confusions=[
            confusion_chart(
                _confusion(data_set, row),
                data_set.classes,
                title=row.method,
                chart_id=f"confusion {number} {index}",
            )
            for index, row in enumerate(class_rows)
        ],
        strips=_strips(data_set, class_rows, number) if unit == "window" else [],
        reliability=_reliability(data_set, class_rows, number),
        legend=list(zip(data_set.classes, class_colors(len(data_set.classes)), strict=True)),
    )


def _confusion(data_set: DataSet, row: Row) -> Float64[np.ndarray, "classes classes"]:
    """Return the windows of each label and prediction, summed over seeds."""
    label, num_classes = data_set.windows.label, len(data_set.classes)
    matrices = [confusion_matrix(label, each.value, num_classes) for each in row.predicted]
    return np.asarray(np.sum(matrices, axis=0), dtype=np.float64)


def _intervals(data_set: DataSet) -> dict[str, list[Interval]]:
    """Return the intervals of each classifier; baselines without features come last."""
    groups: dict[str, list[Interval]] = {}
    for row in data_set.rows:
        name = data_set.text_of(row.classifier) if row.method else "without features"
        label = f"{row.method}, {row.features}" if row.method else data_set.text_of(row.classifier)
        estimate = row.metrics[row.primary]
        interval = Interval(
            label=label,
            value=estimate.value,
            low=estimate.low if np.isfinite(estimate.low) else estimate.value,
            high=estimate.high if np.isfinite(estimate.high) else estimate.value,
            color=_FEATURE_COLORS.get(row.features, COLORS[3]),
        )
        groups.setdefault(name, []).append(interval)
    return groups


def _difference_chart(data_set: DataSet, number: int) -> Chart:
    rows = [
        Differences(
            label=f"{pair.first} - {pair.second}",
            by_case=pair.case_differences,
            value=pair.difference.value,
            low=pair.difference.low,
            high=pair.difference.high,
        )
        for pair in data_set.pairs
        if pair.classifier == data_set.primary
    ]

    value, primary = data_set.kind.case_value, metric_name(data_set.kind.primary)
    by_case = "" if value == primary else f" by {value}"
    title = (
        f"{data_set.text_of(data_set.primary)}: difference in {primary}; dots are cases{by_case}, "
        f"the diamond is the pooled difference with its {LEVEL:.0%} interval"
    )

    return difference_chart(
        rows,
        title=title,
        chart_id=f"differences {number}",
        units=(value, primary) if by_case else None,
    )


def _reliability(data_set: DataSet, rows: Sequence[Row], number: int) -> Chart | None:
    """Draw the share of right predictions over their confidence, of methods with probabilities."""
    curves = {}
    for row in rows:
        seeds = [each for each in row.predicted if each.probability is not None]
        if seeds:
            value = np.concatenate([each.value for each in seeds])
            probability = np.concatenate([each.probability for each in seeds])
            # A prediction of no class has no confidence.
            known = np.flatnonzero(value != NO_CLASS)
            if not len(known):
                continue
            right = (value == np.tile(data_set.windows.label, len(seeds)))[known]
            confidence = probability[known, value[known]]
            share, mean = calibration_curve(right, confidence, n_bins=_BINS)
            curves[row.method] = (mean, share)
    if not curves:
        return None
    return reliability_chart(
        curves, title="share of right predictions", chart_id=f"reliability {number}"
    )


def _strips(data_set: DataSet, rows: Sequence[Row], number: int) -> list[Chart]:
    """Draw labels and predictions of one video each of cases from the worst to the best."""
    if not rows:
        return []
    metric = metric_name(data_set.kind.primary)
    mean = np.mean([row.case_values() for row in rows], axis=0)
    order = np.argsort(mean, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, _STRIPS).round().astype(int))]
    windows = data_set.windows
    videos = np.array(windows.video)

    charts = []
    for place, case in enumerate(shown.tolist()):
        of_case = np.flatnonzero(data_set.scored.case == case)
        video = videos[of_case[0]]
        index = of_case[videos[of_case] == video]
        index = index[np.argsort(windows.time_s[index], kind="stable")]
        time_s = windows.time_s[index]
        strips = [Strip(label="label", time_s=time_s, value=data_set.windows.label[index])]
        strips += [
            Strip(label=row.method, time_s=time_s, value=row.predicted[0].value[index])
            for row in rows
        ]
        charts.append(
            strip_chart(
                strips,
                len(data_set.classes),
                title=f"{data_set.cases[case]}, {metric} {mean[case]:.3f}",
                chart_id=f"strips {number} {place}",
            )
        )
    return charts
