"""What every chart is made on: round axes, a grid, small type, and a frame with a title."""

import math
from collections.abc import Callable, Sequence

from surgrec.report.html import Markup, element

WIDTH, TOP = 560.0, 34.0
LEFT = 52.0
"""Where an axis of values starts."""
LETTER_PX, LINE_PX = 7.0, 13.0
"""Room for a letter and for a line of the small type."""

Scale = Callable[[int | float], float]
"""From a value to a place, pixels."""


def ticks(low: int | float, high: int | float) -> list[float]:
    """Four to ten round numbers that span a range, the first and the last at or beyond its ends."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span))
    step = next(
        step * factor for factor in (0.1, 0.2, 0.5, 1.0, 2.0) if span / (step * factor) <= 8
    )
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def scale(marks: Sequence[float], start: float, end: float) -> Scale:
    """A map from values to pixels that puts the first mark at `start` and the last at `end`."""
    low, high = marks[0], marks[-1]
    return lambda value: float(start + (value - low) / (high - low) * (end - start))


def horizontal_grid(values: Sequence[float], y_at: Scale, right: float) -> list[Markup]:
    """Lines across the chart at these values, which stand to the left of them."""
    lines = [
        element("line", x1=LEFT, x2=right, y1=y_at(y), y2=y_at(y), class_="grid") for y in values
    ]
    return lines + [text(f"{y:,.6g}", LEFT - 6, y_at(y) + 4, "end") for y in values]


def vertical_grid(
    values: Sequence[float], x_at: Scale, bottom: float, shown_as: str
) -> list[Markup]:
    """Lines from the top to `bottom` at these values, which stand below them in this format."""
    lines = [
        element("line", x1=x_at(x), x2=x_at(x), y1=TOP, y2=bottom, class_="grid") for x in values
    ]
    return lines + [text(shown_as.format(x), x_at(x), bottom + 15, "middle") for x in values]


def text(
    words: str, x: float, y: float, anchor: str, kind: str = "tick", color: str | None = None
) -> Markup:
    """Words that start at a place, end there or have their middle there; `kind` is their class in the page's style."""
    style = f"fill: {color}" if color else None
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=kind, style=style)


def figure(title: str, parts: Sequence[Markup], height: float, width: float = WIDTH) -> Markup:
    """A chart of these parts, with its title above them."""
    heading = text(title, 8.0, 18.0, "start", "title")
    size = f"max-width: {1.1 * width:g}px"  # so that type is about as large in every chart
    picture = element(
        "svg",
        heading,
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
        style=size,
    )
    return element("figure", picture, class_="chart")
