"""Charts as inline SVG: pure functions from numbers to a string, with nothing to load."""

import html
import math
from collections.abc import Callable, Mapping, Sequence

Point = tuple[int | float, float]
"""A place on the x axis, such as a step, and a value."""

COLOURS = ("#2563ab", "#d9822b", "#2f8f5b", "#a63d57", "#6b5ca5", "#7a6a53", "#3a9ea5", "#888888")
_WIDTH, _HEIGHT = 560.0, 240.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 56.0, 12.0, 28.0, 34.0


def line_chart(
    series: Mapping[str, Sequence[Point]],
    *,
    x_label: str,
    y_label: str,
    marks: Mapping[int, str] | None = None,
) -> str:
    """Lines over a common x axis.

    Args:
        series: Points (x, y) by name; points that are not finite are left out.
        x_label: Under the axis.
        y_label: Above the axis.
        marks: Vertical dashed lines by their x, with a word each.
    """
    points = [point for values in series.values() for point in values if math.isfinite(point[1])]
    if not points:
        return "<p>nothing was logged</p>"
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    low, high = min(y for _, y in points), max(y for _, y in points)
    y_ticks = ticks(low if low > high / 2 else min(0.0, low), high)  # zero is shown unless it would flatten the line
    x_at, y_at = _scale(x_ticks, _LEFT, _WIDTH - _RIGHT), _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    parts = _axes(x_ticks, y_ticks, x_label, y_label)
    for x, word in (marks or {}).items():
        parts.append(f'<line x1="{x_at(x):.1f}" x2="{x_at(x):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" class="mark"/>')
        parts.append(f'<text x="{x_at(x) + 4:.1f}" y="{_TOP + 10}" class="tick">{html.escape(word)}</text>')
    for colour, values in zip(_colours(len(series)), series.values(), strict=True):
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in values if math.isfinite(y))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    legend = _legend(list(series)) if len(series) > 1 else ""
    return f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>{legend}</figure>'


def bar_chart(bars: Mapping[str, Mapping[str, float]], *, y_label: str) -> str:
    """Groups of bars side by side: per name, one bar for each of the same kinds, such as target and realised."""
    kinds = list(next(iter(bars.values())))
    y_ticks = ticks(0.0, max(value for values in bars.values() for value in values.values()))
    y_at = _scale(y_ticks, _HEIGHT - _BOTTOM, _TOP)
    room = (_WIDTH - _LEFT - _RIGHT) / len(bars)
    width = room * 0.7 / len(kinds)
    bottom = _HEIGHT - _BOTTOM
    parts = _axes([], y_ticks, "", y_label)
    for place, (name, values) in enumerate(bars.items()):
        left = _LEFT + room * (place + 0.15)
        for number, (kind, colour) in enumerate(zip(kinds, _colours(len(kinds)), strict=True)):
            top, x = y_at(values[kind]), left + number * width
            box = f'x="{x:.1f}" y="{top:.1f}" width="{width - 1:.1f}" height="{bottom - top:.1f}" fill="{colour}"'
            parts.append(f"<rect {box}><title>{html.escape(name)}, {kind}: {values[kind]:.4g}</title></rect>")
        centre = f'x="{left + room * 0.35:.1f}" y="{bottom + 14}" class="tick" text-anchor="middle"'
        parts.append(f"<text {centre}>{html.escape(name)}</text>")
    return f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>{_legend(kinds)}</figure>'


def ticks(low: int | float, high: int | float) -> list[float]:
    """Four to ten round numbers that span a range, the first and the last at or beyond its ends."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span))
    step = next(step * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (step * factor) <= 8)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _scale(marks: Sequence[float], start: float, end: float) -> Callable[[int | float], float]:
    """A map from values to pixels that puts the first mark at `start` and the last at `end`."""
    low, high = marks[0], marks[-1]
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, y_label: str) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    y_at = _scale(y_ticks, bottom, _TOP)
    parts = [f'<text x="{_LEFT}" y="{_TOP - 12}" class="label">{html.escape(y_label)}</text>']
    for value in y_ticks:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y_at(value):.1f}" y2="{y_at(value):.1f}" class="grid"/>'
        )
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y_at(value) + 4:.1f}" class="tick" text-anchor="end">{value:.6g}</text>'
        )
    for value in x_ticks:
        x = _scale(x_ticks, _LEFT, _WIDTH - _RIGHT)(value)
        parts.append(f'<text x="{x:.1f}" y="{bottom + 14}" class="tick" text-anchor="middle">{value:.6g}</text>')
    parts.append(
        f'<text x="{_WIDTH - _RIGHT}" y="{_HEIGHT - 6}" class="label" text-anchor="end">{html.escape(x_label)}</text>'
    )
    return parts


def _colours(count: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(count)]


def _legend(names: Sequence[str]) -> str:
    items = "".join(
        f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
        for name, colour in zip(names, _colours(len(names)), strict=True)
    )
    return f'<figcaption class="legend">{items}</figcaption>'
