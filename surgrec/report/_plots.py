"""Draw the charts of a report with matplotlib, as SVG that goes into the page."""

import io
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from markupsafe import Markup, escape
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from surgrec.text import one_line, visible

Point = tuple[int | float, float]
"""Position on the x axis, such as a step, and a value."""

COLORS = ("#2563ab", "#c8702a", "#2f8f5b", "#a63d57", "#6b5ca5", "#7a6a53", "#2b8a96", "#6f7782")
"""Colors of the lines of a chart, in their order."""

_INK, _GRAY, _AXIS_GRAY, _GRID_GRAY, _RED = "#1d2530", "#586374", "#b9c3cf", "#e6ebf0", "#a63d57"

_STYLE = {
    "figure.dpi": 72,  # a unit of the SVG is then a CSS pixel
    "figure.facecolor": "none",
    "figure.constrained_layout.h_pad": 6 / 72,
    "figure.constrained_layout.w_pad": 8 / 72,
    "axes.facecolor": "none",
    "axes.edgecolor": _AXIS_GRAY,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _GRAY,
    "grid.color": _GRID_GRAY,
    "xtick.color": _GRAY,
    "xtick.major.size": 0,
    "xtick.major.pad": 6,
    "ytick.color": _GRAY,
    "ytick.major.size": 0,
    "ytick.major.pad": 7,
    "font.family": "DejaVu Sans",  # measured with the font that matplotlib ships
    "font.size": 11,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "lines.markeredgewidth": 1.8,
    "text.color": _INK,
    "text.parse_math": False,  # a "$" in the name of a run is a "$"
    "svg.fonttype": "none",  # text stays text: it can be searched, and the page chooses its font
}
"""Changes of matplotlib's default style. A matplotlibrc of the user has no effect on a chart."""

_WIDTH_PX, _WIDE_PX, _HEIGHT_PX = 560, 760, 240
_ROW_PX, _TEXT_PX, _AXIS_PX = 22, 14, 40
"""Heights of a row of bars or intervals, of a line of text, and of the x axis with its padding."""

_LABEL_CHARACTERS, _WIDE_LABEL_CHARACTERS = 32, 36
"""Longest texts beside a chart and beside a wide one; the picture keeps a third of the width."""

_GREATEST = 1e300
"""Values beyond are those of a diverged run, and no axis can show them."""

_MARKED_POINTS = 12
"""A line of at most this many points shows each of them as a dot."""

_MARK_GAP = 0.25
"""Marks closer than this share of the x axis have one text, that of the first."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture of numbers with a title."""

    title: str
    svg: Markup | None
    """An `svg` element. None if all values are missing."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a line chart."""

    points: Sequence[Point]
    """Points whose value is not finite, or beyond 1e300, are left out."""
    label: str = ""
    """Written at the line's end. A line without a label is thin and lies behind the others."""
    dashed: bool = False
    """For a reference that the other lines are compared with."""


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a target chart. Value and target are shares in [0, 1]."""

    label: str
    value: float
    target: float


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value, the interval around it, and the color of both."""

    label: str
    value: float
    low: float
    high: float
    color: str

    def __str__(self) -> str:
        """Return the numbers as text."""
        value, low, high = map(_number, (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    chart_id: str,
    x_label: str = "step",
    marks: Mapping[int, str] = MappingProxyType({}),
) -> Chart:
    """Draw lines over a common x axis.

    Args:
        lines: The lines. If several have a label, each label is written at the end of its line.
        title: Name of the values.
        chart_id: Unique among the charts of a page; it keeps the ids of their SVG apart.
        x_label: Name of the x axis.
        marks: Texts of vertical dashed lines, by their x.
    """
    lines = [_finite(line) for line in lines]
    points = [point for line in lines for point in line.points]
    if not points:
        return Chart(title=title, svg=None)

    labeled = [line for line in lines if line.label and line.points]
    height = max(_HEIGHT_PX, _AXIS_PX + _TEXT_PX * (len(labeled) + 1))
    with open_figure(_WIDTH_PX, height, chart_id) as (figure, axes):
        for line in lines:
            if not line.label:
                _plot(axes, line, color=COLORS[0], alpha=0.35, linewidth=1)
        for line, color in zip(labeled, _colors(len(labeled)), strict=True):
            marker = "o" if len(line.points) <= _MARKED_POINTS else ""
            _plot(axes, line, color=color, marker=marker)

        # Let the axes end at round numbers around all points and marks.
        x_ticks = round_ticks([*(x for x, _ in points), *marks], integer=True)
        y_ticks = round_ticks([y for _, y in points])
        axes.set(xticks=x_ticks, xlim=(x_ticks[0], x_ticks[-1]))
        axes.set(yticks=y_ticks, ylim=(y_ticks[0], y_ticks[-1]))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.10g}"))
        axes.set_xlabel(x_label, loc="right")

        _draw_marks(axes, marks)
        if len(labeled) > 1:
            _label_ends(axes, labeled, gap=_TEXT_PX / (height - _AXIS_PX))
        return Chart(title=title, svg=svg_of(figure, title, map(_describe_line, labeled)))


def target_chart(bars: Sequence[Bar], *, title: str, chart_id: str) -> Chart:
    """Draw horizontal bars of shares, each with a stroke at its target.

    Args:
        bars: The bars, from top to bottom.
        title: Name of the values.
        chart_id: Unique among the charts of a page.
    """
    if not bars:
        return Chart(title=title, svg=None)
    shown = [replace(bar, value=_shown(bar.value), target=_shown(bar.target)) for bar in bars]
    rows = range(len(bars))
    with open_figure(_WIDTH_PX, _AXIS_PX + _ROW_PX * len(bars), chart_id) as (figure, axes):
        axes.barh(rows, [bar.value for bar in shown], height=0.6, color=COLORS[0], alpha=0.75)
        axes.vlines(
            [bar.target for bar in shown],
            [row - 0.42 for row in rows],
            [row + 0.42 for row in rows],
            color=_INK,
            linewidth=2,
            clip_on=False,
        )

        for row, bar in enumerate(shown):
            _write_beside(axes, f"{bar.value:.1%}", max(bar.value, bar.target), row)

        shares = [share for bar in shown for share in (bar.value, bar.target)]
        labels = [short(bar.label, _LABEL_CHARACTERS) for bar in bars]
        _format_axes(axes, labels, round_ticks([0.0, *shares]))
        descriptions = [f"{bar.label} {bar.value:.1%}, target {bar.target:.1%}" for bar in bars]
        return Chart(title=title, svg=svg_of(figure, title, descriptions))


def interval_chart(groups: Mapping[str, Sequence[Interval]], *, title: str, chart_id: str) -> Chart:
    """Draw a dot with whiskers for each value, below the name of its group.

    Args:
        groups: Intervals by the name of their group, from top to bottom.
        title: Name of the values.
        chart_id: Unique among the charts of a page.
    """
    # The row of a group's name has no interval.
    rows: list[tuple[str, Interval | None]] = []
    for name, intervals in groups.items():
        rows += [(name, None), *((interval.label, interval) for interval in intervals)]
    ends = [_shown(end) for _, each in rows if each for end in (each.low, each.high)]

    with open_figure(_WIDE_PX, _AXIS_PX + _ROW_PX * len(rows), chart_id) as (figure, axes):
        labels = [short(label, _WIDE_LABEL_CHARACTERS) for label, _ in rows]
        _format_axes(axes, labels, round_ticks([0.0, *ends]))
        for row, (_, interval) in enumerate(rows):
            if interval is None:
                axes.get_yticklabels()[row].set_fontweight("bold")
                continue

            span = (_shown(interval.low), _shown(interval.high))
            options: dict[str, Any] = {"color": interval.color, "clip_on": False}
            axes.plot(span, (row, row), marker="|", markersize=9, **options)
            axes.plot(_shown(interval.value), row, marker="o", markersize=8, **options)
            _write_beside(axes, str(interval), 1, row, xycoords=axes.get_yaxis_transform())

        descriptions = [
            f"{name}, {interval.label}: {interval}"
            for name, intervals in groups.items()
            for interval in intervals
        ]
        return Chart(title=title, svg=svg_of(figure, title, descriptions))


def round_ticks(values: Sequence[int | float], *, integer: bool = False) -> list[float]:
    """Return round numbers for an axis. The first and the last enclose all values.

    Zero is one of them, unless that would flatten the values.

    Args:
        values: Finite values that the axis shows.
        integer: Whether all ticks are whole numbers.
    """
    low, high = min(values), max(values)
    if 0 < low <= high / 2:
        low = 0.0
    if low == high and integer:
        high += 1
    elif low == high:
        margin = abs(low) / 10 or 1.0
        low, high = low - margin, high + margin

    locator = MaxNLocator(nbins=7, steps=(1, 2, 5, 10), integer=integer)
    return [float(tick) for tick in locator.tick_values(low, high)]


@contextmanager
def open_figure(width_px: int, height_px: int, chart_id: str) -> Iterator[tuple[Figure, Axes]]:
    """Open an empty figure in the style of the page. Draw and save it inside the context."""
    with open_panels(width_px, height_px, chart_id, count=1) as (figure, (axes,)):
        yield figure, axes


@contextmanager
def open_panels(
    width_px: int, height_px: int, chart_id: str, *, count: int
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Open a figure with some panels beside each other, which share their rows."""
    with (
        style.context(["default", _STYLE | {"svg.hashsalt": visible(chart_id)}]),
        warnings.catch_warnings(),
    ):
        # The browser draws the text, with its own fonts.
        for about in ("Glyph .* missing from font", "Matplotlib currently does not support"):
            warnings.filterwarnings("ignore", about)
        figure = Figure(figsize=(width_px / 72, height_px / 72), layout="constrained")
        yield figure, figure.subplots(1, count, sharey=True, squeeze=False)[0].tolist()


def svg_of(figure: Figure, title: str, descriptions: Iterable[str]) -> Markup:
    """Return a figure as an `svg` element. Its ids depend on the `chart_id`."""
    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=no_metadata)
    drawing = buffer.getvalue().partition("</defs>")[2]

    # matplotlib numbers the groups of each figure from 1. Nothing refers to these ids.
    drawing = re.sub(r'(<g) id="[\w.]+_\d+"', r"\1", drawing)
    # A mark shows its text when the pointer is over it.
    drawing = re.sub(r'<g id="mark: ([^"]*)">', r"<g><title>\1</title>", drawing)
    # Half of the bytes are indentation, digits below 0.01 pixels and rotations by 0 degrees.
    drawing = re.sub(r"\n\s*", "\n", drawing)
    drawing = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), drawing)
    drawing = re.sub(r'(<text[^>]*) transform="rotate\(-0 [^)]*\)"', r"\1", drawing)

    width_px, height_px = figure.get_size_inches() * 72
    text = escape(visible("; ".join([title, *descriptions])))
    return Markup(
        f'<svg viewBox="0 0 {width_px:g} {height_px:g}" style="max-width: {1.1 * width_px:g}px" '
        f'role="img" aria-label="{text}">{drawing}'
    )


def short(text: str, limit: int) -> str:
    """Return a text on one line with at most `limit` characters. Descriptions have all of it."""
    return one_line(" ".join(text.split()), limit, mark="…")


def _colors(count: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(count)]


def _finite(line: Line) -> Line:
    return replace(line, points=[point for point in line.points if abs(point[1]) <= _GREATEST])


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.3g}"


def _shown(value: float) -> float:
    """Return a value within the range of an axis."""
    return min(max(value, -_GREATEST), _GREATEST)


def _plot(axes: Axes, line: Line, **options: Any) -> None:
    """Draw one line with options of matplotlib's `plot`."""
    x, y = zip(*line.points, strict=True)
    axes.plot(x, y, linestyle="--" if line.dashed else "-", clip_on=False, **options)


def _draw_marks(axes: Axes, marks: Mapping[int, str]) -> None:
    """Draw a vertical dashed line at each mark, and its text above it if there is room."""
    left, right = axes.get_xlim()
    last_text = -math.inf
    for x, text in sorted(marks.items()):
        axes.axvline(
            x, color=_RED, alpha=0.6, linestyle="--", linewidth=1, gid=f"mark: {visible(text)}"
        )
        share = (x - left) / (right - left)
        if share - last_text < _MARK_GAP:
            continue

        axes.annotate(
            short(text, _LABEL_CHARACTERS),
            (x, 1),
            xycoords=axes.get_xaxis_transform(),
            xytext=(-1, 3),
            textcoords="offset points",
            color=_GRAY,
        )
        last_text = share


def _label_ends(axes: Axes, lines: Sequence[Line], *, gap: float) -> None:
    """Write the labels of lines beside their ends, at least `gap` of the y axis apart."""
    low, high = axes.get_ylim()
    ends = sorted(
        ((line.points[-1][1] - low) / (high - low), line.label, color)
        for line, color in zip(lines, _colors(len(lines)), strict=True)
    )

    # Move labels up until none touches the one below, then down until the highest is on the chart.
    heights = [height for height, _, _ in ends]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + gap)
    limit = 1.0
    for index in reversed(range(len(heights))):
        heights[index] = min(heights[index], limit)
        limit = heights[index] - gap

    for height, (_, label, color) in zip(heights, ends, strict=True):
        text = short(label, _LABEL_CHARACTERS)
        _write_beside(axes, text, 1, height, xycoords="axes fraction", color=color)


def _write_beside(axes: Axes, text: str, x: int | float, y: int | float, **options: Any) -> None:
    """Write text to the right of a point, with options of matplotlib's `annotate`."""
    axes.annotate(
        text,
        (x, y),
        xytext=(6, 0),
        textcoords="offset points",
        verticalalignment="center",
        **options,
    )


def _format_axes(axes: Axes, labels: Sequence[str], ticks: list[float]) -> None:
    """Write labels beside the rows 0, 1, 2, ... from top to bottom, and ticks below them."""
    axes.set(xticks=ticks, xlim=(ticks[0], ticks[-1]))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.3g}"))

    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.grid(visible=False, axis="y")


def _describe_line(line: Line) -> str:
    (first_x, first), (last_x, last) = line.points[0], line.points[-1]
    return f"{line.label} {first:.4g} at {first_x:,.6g}, {last:.4g} at {last_x:,.6g}"
