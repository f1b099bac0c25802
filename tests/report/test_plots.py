"""Charts show every finite point, on round axes, and nothing that was not given."""

import math
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.report.axes import ticks
from surgrec.report.plots import Bar, Interval, Line, interval_chart, line_chart, target_chart


def numbers(chart: str, pattern: str) -> list[float]:
    """The numbers that a pattern with one group finds, in their order."""
    return [float(number) for number in re.findall(pattern, chart)]


@given(st.floats(-1e3, 1e3), st.floats(1e-2, 1e6))
def test_ticks_span_the_range_with_few_round_numbers(low: float, span: float) -> None:
    marks = ticks(low, low + span)
    step = marks[1] - marks[0]
    assert marks[0] <= low + 1e-6 * step
    assert marks[-1] >= low + span - 1e-6 * step
    assert 2 <= len(marks) <= 12


def test_a_constant_still_has_an_axis() -> None:
    assert ticks(3.0, 3.0)[0] <= 3.0 < ticks(3.0, 3.0)[-1]


def test_points_that_are_not_finite_are_left_out_and_the_others_drawn() -> None:
    chart = line_chart(
        [Line(points=[(0.0, 1.0), (1.0, math.nan), (2.0, 0.5)], label="loss")], title="loss"
    )
    points = re.search(r'points="([^"]*)"', chart)
    assert points is not None
    assert len(points.group(1).split()) == 2
    assert "nan" not in chart


def test_a_chart_without_a_finite_point_says_so() -> None:
    assert "loss: nothing was logged" in line_chart(
        [Line(points=[(0, math.inf)], label="loss")], title="loss"
    )


def test_a_single_point_can_be_seen() -> None:
    assert "<circle" in line_chart([Line(points=[(0, 1.0)], label="loss")], title="loss")


def test_a_higher_value_is_drawn_higher() -> None:
    chart = line_chart([Line(points=[(0.0, 1.0), (1.0, 9.0)], label="loss")], title="loss")
    low, high = numbers(chart, r"[ \"][\d.]+,([\d.]+)(?=[ \"])")
    assert high < low


def test_names_at_the_ends_of_equal_lines_do_not_touch_and_stay_on_the_chart() -> None:
    lines = [Line(points=[(0, 1.0), (1, 1.0)], label=f"source-{number}") for number in range(30)]
    chart = line_chart(lines, title="loss")
    heights = sorted(numbers(chart, r'y="([\d.]+)"[^>]*class="name"'))
    assert len(heights) == 30
    assert min(after - before for before, after in pairwise(heights)) > 12
    view = re.search(r'viewBox="0 0 [\d.]+ ([\d.]+)"', chart)
    assert view is not None
    assert 0 < heights[0] < heights[-1] < float(view.group(1))


def test_marks_close_to_each_other_share_the_words_of_the_first() -> None:
    line = Line(points=[(0, 1.0), (1000, 1.0)], label="loss")
    chart = line_chart([line], title="loss", marks={100: "resumed", 110: "resumed", 900: "resumed"})
    assert chart.count('class="mark"') == 3
    assert chart.count('class="tick">resumed') == 2


def test_bars_are_as_long_as_their_values_and_the_stroke_is_where_they_should_end() -> None:
    chart = target_chart(
        [Bar(label="a", value=0.5, target=0.25), Bar(label="b", value=0.25, target=0.5)], title=""
    )
    long, short = numbers(chart, r'<rect [^>]*width="([\d.]+)"')
    assert long == pytest.approx(2 * short, rel=0.01)
    start = numbers(chart, r'<rect x="([\d.]+)"')[0]
    strokes = numbers(chart, r'x1="([\d.]+)"[^>]*class="target"')
    assert strokes == pytest.approx([start + short, start + long], abs=0.2)


def test_a_dot_lies_between_its_whiskers_and_carries_its_numbers() -> None:
    interval = Interval(label="trained", value=0.5, low=0.4, high=0.7, color="#000")
    chart = interval_chart({"kNN": [interval]}, title="macro F1")
    low, high = (numbers(chart, rf'{end}="([\d.]+)"[^>]*stroke="#000"')[0] for end in ("x1", "x2"))
    dot = numbers(chart, r'cx="([\d.]+)"')[0]
    assert dot - low == pytest.approx((high - low) / 3, abs=0.2)
    assert "0.500 [0.400, 0.700]" in chart


def test_names_cannot_become_markup() -> None:
    charts = [
        line_chart(
            [Line(points=[(0, 1.0)], label="<script>")] * 2, title="<script>", marks={0: "<script>"}
        ),
        target_chart([Bar(label="<script>", value=1.0, target=1.0)], title="<script>"),
        interval_chart(
            {"<script>": [Interval(label="<script>", value=1.0, low=1.0, high=1.0, color="#000")]},
            title="",
        ),
    ]
    assert not [chart for chart in charts if "<script>" in chart]
