"""Charts as inline SVG: pure functions from numbers to markup, with nothing to load. Lines and bars carry their own names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surgrec.report.axes import (
    LEFT,
    LETTER_PX,
    LINE_PX,
    TOP,
    WIDTH,
    Scale,
    figure,
    horizontal_grid,
    scale,
    text,
    ticks,
    vertical_grid,
)
from surgrec.report.html import Markup, element, join

Point = tuple[int | float, float]
"""A place on the x axis, such as a step, and a value."""

COLORS = ("#2563ab", "#c8702a", "#2f8f5b", "#a63d57", "#6b5ca5", "#7a6a53", "#2b8a96", "#6f7782")
_HEIGHT, _BOTTOM = 250.0, 36.0
_MARK_GAP_PX = 120.0
"""Marks closer than this share the words of the first."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of a chart."""

    points: Sequence[Point]
    """Those that are not finite are left out."""
    label: str = ""
    """Written at its end; a line without one is drawn thin, behind those that have one."""
    dashed: bool = False
    """For what is compared with, rather than shown."""


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str = "step",
    marks: Mapping[int, str] | None = None,
) -> Markup:
    """Lines over a common x axis.

    Args:
        lines: What is drawn; several labeled ones are named at their ends.
        title: Above the chart.
        x_label: Under the axis.
        marks: Vertical dashed lines by their x, with a few words each.
    """
    points = [point for line in lines for point in line.points if math.isfinite(point[1])]
    if not points:
        return element("figure", element("p", f"{title}: nothing was logged", class_="note"))
    labels = [line.label for line in lines if line.label]
    right = 16.0 if len(labels) < 2 else 14 + LETTER_PX * max(map(len, labels))
    height = max(_HEIGHT, TOP + _BOTTOM + LINE_PX * len(labels))
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    low, high = min(y for _, y in points), max(y for _, y in points)
    y_ticks = ticks(
        low if low > high / 2 else min(0.0, low), high
    )  # zero is shown unless it would flatten the line
    x_at, y_at = scale(x_ticks, LEFT, WIDTH - right), scale(y_ticks, height - _BOTTOM, TOP)
    drawn = _colored(lines)
    parts = [
        *horizontal_grid(y_ticks, y_at, WIDTH - right),
        *(text(f"{x:,.6g}", x_at(x), height - _BOTTOM + 15, "middle") for x in x_ticks),
        text(x_label, WIDTH - right, height - 6, "end"),
        *_marks(marks or {}, x_at, height - _BOTTOM),
        *(_polyline(line, color, x_at, y_at) for line, color in drawn),
        *(_end_labels(drawn, y_at, WIDTH - right, height - _BOTTOM) if len(labels) > 1 else ()),
    ]
    return figure(title, parts, height)


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar of a chart, and where it should end."""

    label: str
    value: float
    target: float


def target_chart(bars: Sequence[Bar], *, title: str) -> Markup:
    """Horizontal bars of shares, each with a stroke where it should end."""
    left = 16 + LETTER_PX * max(len(bar.label) for bar in bars)
    x_ticks = ticks(0.0, max(max(bar.value, bar.target) for bar in bars))
    x_at = scale(x_ticks, left, WIDTH - 60)
    row_px = 26.0
    bottom = TOP + row_px * len(bars)
    parts = vertical_grid(x_ticks, x_at, bottom, "{:.3g}")
    for place, bar in enumerate(bars):
        top = TOP + row_px * place
        size = {
            "x": left,
            "y": top + 5,
            "width": max(x_at(bar.value) - left, 0.5),
            "height": row_px - 10,
        }
        parts.append(element("rect", **size, fill=COLORS[0], fill_opacity="0.75"))
        target = x_at(bar.target)
        parts.append(
            element("line", x1=target, x2=target, y1=top + 2, y2=top + row_px - 2, class_="target")
        )
        parts.append(text(bar.label, left - 8, top + 17, "end", "name"))
        parts.append(
            text(f"{bar.value:.1%}", max(x_at(bar.value), target) + 6, top + 17, "start", "name")
        )
    return figure(title, parts, bottom + 26)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value and the interval around it."""

    label: str
    value: float
    low: float
    high: float
    color: str


def interval_chart(groups: Mapping[str, Sequence[Interval]], *, title: str) -> Markup:
    """A dot with whiskers for every value, under a heading for each group, over a common axis."""
    intervals = [interval for group in groups.values() for interval in group]
    left = 16 + LETTER_PX * max(len(interval.label) for interval in intervals)
    width = WIDTH + 200
    x_ticks = ticks(
        min(0.0, *(interval.low for interval in intervals)),
        max(interval.high for interval in intervals),
    )
    x_at = scale(x_ticks, left, width - 145)
    row_px = 21.0
    bottom = TOP + row_px * (len(intervals) + len(groups))
    parts, middle = vertical_grid(x_ticks, x_at, bottom, "{:.3g}"), TOP + row_px / 2
    for name, group in groups.items():
        parts.append(text(name, 8.0, middle + 4, "start", "group"))
        for interval in group:
            middle += row_px
            parts += _whisker(interval, x_at, middle, left)
        middle += row_px
    return figure(title, parts, bottom + 26, width=width)


def _colored(lines: Sequence[Line]) -> list[tuple[Line, str]]:
    """Lines with their colors, those without a label first: they are drawn behind, in the color of the first label."""
    labeled = [line for line in lines if line.label]
    colors = [COLORS[place % len(COLORS)] for place in range(len(labeled))]
    return [(line, COLORS[0]) for line in lines if not line.label] + list(
        zip(labeled, colors, strict=True)
    )


def _polyline(line: Line, color: str, x_at: Scale, y_at: Scale) -> Markup:
    places = [(x_at(x), y_at(y)) for x, y in line.points if math.isfinite(y)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    strength = (
        {"stroke_width": "1.8"} if line.label else {"stroke_width": "1", "stroke_opacity": "0.35"}
    )
    dashes = "5 4" if line.dashed else None
    drawn = element(
        "polyline", points=path, fill="none", stroke=color, stroke_dasharray=dashes, **strength
    )
    if len(places) > 12:
        return drawn
    return join([drawn, *(element("circle", cx=x, cy=y, r=2.4, fill=color) for x, y in places)])


def _end_labels(
    drawn: Sequence[tuple[Line, str]], y_at: Scale, left: float, bottom: float
) -> list[Markup]:
    """Names at the ends of lines, moved apart where they would touch."""
    ends = []
    for line, color in drawn:
        values = [y for _, y in line.points if math.isfinite(y)]
        if line.label and values:
            ends.append((y_at(values[-1]), line.label, color))
    ends.sort()
    heights: list[float] = []
    for height, _, _ in ends:
        heights.append(max(height, heights[-1] + LINE_PX) if heights else height)
    lowest = bottom
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], lowest)
        lowest = heights[place] - LINE_PX
    return [
        text(label, left + 6, height + 4, "start", "name", color)
        for height, (_, label, color) in zip(heights, ends, strict=True)
    ]


def _marks(marks: Mapping[int, str], x_at: Scale, bottom: float) -> list[Markup]:
    parts, worded = [], -math.inf
    for x, words in sorted(marks.items()):
        parts.append(
            element(
                "line",
                element("title", words),
                x1=x_at(x),
                x2=x_at(x),
                y1=TOP,
                y2=bottom,
                class_="mark",
            )
        )
        if x_at(x) - worded >= _MARK_GAP_PX:
            parts.append(text(words, x_at(x) + 4, TOP + 10, "start"))
            worded = x_at(x)
    return parts


def _whisker(interval: Interval, x_at: Scale, middle: float, left: float) -> list[Markup]:
    low, high, color = x_at(interval.low), x_at(interval.high), interval.color
    caption = f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"
    return [
        element("line", x1=low, x2=high, y1=middle, y2=middle, stroke=color, stroke_width="2"),
        *(
            element(
                "line", x1=end, x2=end, y1=middle - 4, y2=middle + 4, stroke=color, stroke_width="2"
            )
            for end in (low, high)
        ),
        element("circle", cx=x_at(interval.value), cy=middle, r=4.5, fill=color),
        text(interval.label, left - 8, middle + 4, "end", "name"),
        text(caption, high + 8, middle + 4, "start"),
    ]
