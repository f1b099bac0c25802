"""Draw the charts of a comparison: differences by case, confusion matrices, strips over time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from surgrec.report._plots import (
    COLORS,
    Chart,
    open_figure,
    open_panels,
    round_ticks,
    short,
    svg_of,
)
from surgrec.scores.classification import NO_CLASS

_WIDE_PX, _ROW_PX, _AXIS_PX = 760, 26, 44
_MOST_CLASSES = 40
"""Classes above which a confusion matrix is not drawn."""
_MOST_TEXTS = 12
"""Classes up to which the cells of a confusion matrix have numbers."""
_LABEL_CHARACTERS = 28
_PALETTE = [to_hex(color) for name in ("tab20", "tab20b") for color in colormaps[name].colors]  # type: ignore[attr-defined]


@dataclass(frozen=True, kw_only=True)
class Differences:
    """The differences of two methods on each case, and their interval."""

    label: str
    by_case: Float64[np.ndarray, " cases"]
    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Classes over the time of a video."""

    label: str
    time_s: Float64[np.ndarray, " n"]
    """Ascending seconds of the video."""
    value: Int64[np.ndarray, " n"]
    """Index of the class of each window."""


def class_colors(num_classes: int) -> list[str]:
    """Return a color for each class."""
    return [_PALETTE[index % len(_PALETTE)] for index in range(num_classes)]


def difference_chart(
    rows: Sequence[Differences], *, title: str, chart_id: str, units: tuple[str, str] | None = None
) -> Chart:
    """Draw a dot per case and the interval of the mean, for each pair of methods.

    Args:
        rows: The pairs, from top to bottom.
        title: Name of the values.
        chart_id: Unique among the charts of a page.
        units: Names of the value of a case and of the pooled value if they have other units: each
            then has a panel of its own. Default: one panel for both.
    """
    if not np.isfinite([value for row in rows for value in _values_of(row)]).any():
        return Chart(title=title, svg=None)

    # Scores by case may be of another metric than the pooled ones: then each has its panel.
    height_px = _AXIS_PX + _ROW_PX * (len(rows) + (units is not None))
    panels = 1 if units is None else 2
    with open_panels(_WIDE_PX, height_px, chart_id, count=panels) as (figure, axes):
        _draw_cases(axes[0], rows)
        _draw_intervals(axes[-1], rows)
        _name_rows(axes[0], [row.label for row in rows])
        if units is None:
            _limit(axes[0], [value for row in rows for value in _values_of(row)])
        else:
            _limit(axes[0], [value for row in rows for value in row.by_case])
            _limit(axes[1], [value for row in rows for value in _interval_of(row)])
            axes[1].grid(visible=False, axis="y")
            for panel, name in zip(axes, units, strict=True):
                panel.set_xlabel(name)

        texts = [f"{row.label} {row.value:.3f} [{row.low:.3f}, {row.high:.3f}]" for row in rows]
        return Chart(title=title, svg=svg_of(figure, title, texts))


def _interval_of(row: Differences) -> list[float]:
    return [row.low, row.high, row.value]


def _values_of(row: Differences) -> list[float]:
    return [*_interval_of(row), *row.by_case.tolist()]


def _draw_cases(axes: Axes, rows: Sequence[Differences]) -> None:
    for place, row in enumerate(rows):
        cases = row.by_case[np.isfinite(row.by_case)]
        axes.plot(cases, np.full(len(cases), place), "o", color=COLORS[0], alpha=0.35, mew=0)


def _draw_intervals(axes: Axes, rows: Sequence[Differences]) -> None:
    for place, row in enumerate(rows):
        if np.isfinite([row.low, row.high]).all():
            axes.plot((row.low, row.high), (place, place), "|-", color=COLORS[1], markersize=11)
        axes.plot(row.value, place, "D", color=COLORS[1], markersize=6)


def _limit(axes: Axes, values: Sequence[float]) -> None:
    """Let the x axis end at round numbers around finite values and 0, which has a line."""
    ticks = round_ticks([0.0, *(value for value in values if np.isfinite(value))])
    axes.axvline(0, color=COLORS[7], linewidth=1, zorder=0.9)
    axes.set(xticks=ticks, xlim=(ticks[0], ticks[-1]))


def confusion_chart(
    confusion: Float64[np.ndarray, "classes classes"],
    classes: Sequence[str],
    *,
    title: str,
    chart_id: str,
) -> Chart:
    """Draw the share of the windows of each class (row) that were predicted as each class.

    Args:
        confusion: Windows of each label and prediction.
        classes: Names of the classes.
        title: Name of the chart.
        chart_id: Unique among the charts of a page.
    """
    if len(classes) > _MOST_CLASSES or not confusion.sum():
        return Chart(title=title, svg=None)

    # Each row is the share of a class, so that rare classes are seen.
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    side_px = max(160, 26 * len(classes))
    with open_figure(side_px + 220, side_px + 110, chart_id) as (figure, axes):
        axes.pcolormesh(share, cmap="Blues", vmin=0, vmax=1, edgecolors="#e6ebf0", linewidth=0.5)
        if len(classes) <= _MOST_TEXTS:
            for (row, column), value in np.ndenumerate(share):
                color = "white" if value > 0.6 else "#1d2530"
                axes.text(
                    column + 0.5,
                    row + 0.5,
                    f"{100 * value:.0f}",
                    color=color,
                    ha="center",
                    va="center",
                    fontsize=9,
                )

        names = [short(name, _LABEL_CHARACTERS) for name in classes]
        places = np.arange(len(classes)) + 0.5
        axes.set_xticks(places, names, rotation=90)
        axes.set_yticks(places, names)
        axes.set(xlabel="prediction", ylabel="label")
        axes.invert_yaxis()
        axes.grid(visible=False)

        texts = [f"{name} {share[i, i]:.0%} right" for i, name in enumerate(classes)]
        return Chart(title=title, svg=svg_of(figure, title, texts))


def strip_chart(strips: Sequence[Strip], num_classes: int, *, title: str, chart_id: str) -> Chart:
    """Draw classes over time as colored strips, one below the other.

    Args:
        strips: Labels and predictions of one video.
        num_classes: Number of classes; `class_colors` has their colors.
        title: Name of the video.
        chart_id: Unique among the charts of a page.
    """
    strips = [strip for strip in strips if len(strip.time_s)]
    if not strips:
        return Chart(title=title, svg=None)

    colors = class_colors(num_classes)
    with open_figure(_WIDE_PX, _AXIS_PX + _ROW_PX * len(strips), chart_id) as (figure, axes):
        for place, strip in enumerate(strips):
            spans = [span for span in _spans(strip) if span[2] != NO_CLASS]
            axes.broken_barh(
                [(start / 60, (end - start) / 60) for start, end, _ in spans],
                (place - 0.4, 0.8),
                facecolors=[colors[value] for _, _, value in spans],
            )

        _name_rows(axes, [strip.label for strip in strips])
        ends = [strip.time_s[-1] / 60 for strip in strips]
        axes.set_xlim(min(strip.time_s[0] / 60 for strip in strips), max(*ends, 1e-3))
        axes.set_xlabel("minutes", loc="right")
        texts = [f"{strip.label} {len(strip.time_s)} windows" for strip in strips]
        return Chart(title=title, svg=svg_of(figure, title, texts))


def reliability_chart(
    curves: Mapping[str, tuple[Float64[np.ndarray, " b"], Float64[np.ndarray, " b"]]],
    *,
    title: str,
    chart_id: str,
) -> Chart:
    """Draw the share of right predictions over the confidence of these predictions.

    Args:
        curves: Mean confidence and share of right predictions of each bin, by method.
        title: Name of the chart.
        chart_id: Unique among the charts of a page.
    """
    if not any(len(confidence) for confidence, _ in curves.values()):
        return Chart(title=title, svg=None)
    with open_figure(420, 360, chart_id) as (figure, axes):
        axes.plot((0, 1), (0, 1), "--", color=COLORS[7], linewidth=1)
        for index, (name, (confidence, right)) in enumerate(curves.items()):
            color = COLORS[index % len(COLORS)]
            axes.plot(confidence, right, "o-", color=color, label=short(name, _LABEL_CHARACTERS))
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right")
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        return Chart(title=title, svg=svg_of(figure, title, curves))


def _name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Write labels beside the rows 0, 1, 2, ... from top to bottom."""
    axes.set_yticks(range(len(labels)), [short(label, _LABEL_CHARACTERS) for label in labels])
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def _spans(strip: Strip) -> list[tuple[float, float, int]]:
    """Return start, end and class of each stretch; it ends where windows are missing."""
    time, value = strip.time_s, strip.value
    step = float(np.median(np.diff(time))) if len(time) > 1 else 1.0
    breaks = (np.diff(value) != 0) | (np.diff(time) > 1.5 * step)
    starts = [0, *(np.flatnonzero(breaks) + 1).tolist()]
    lasts = [*(index - 1 for index in starts[1:]), len(time) - 1]
    return [
        (float(time[start] - step), float(time[last]), int(value[start]))
        for start, last in zip(starts, lasts, strict=True)
    ]
