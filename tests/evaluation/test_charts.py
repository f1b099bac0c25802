"""Charts show every finite point, on round axes, and nothing that was not given."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.evaluation.charts import bar_chart, line_chart, ticks


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
    svg = line_chart({"loss": [(0.0, 1.0), (1.0, math.nan), (2.0, 0.5)]}, x_label="step", y_label="loss")
    points = re.search(r'points="([^"]*)"', svg)
    assert points is not None
    assert len(points.group(1).split()) == 2
    assert "nan" not in svg


def test_a_higher_value_is_drawn_higher() -> None:
    svg = line_chart({"loss": [(0.0, 1.0), (1.0, 9.0)]}, x_label="step", y_label="loss")
    (_, low), (_, high) = (pair.split(",") for pair in re.search(r'points="([^"]*)"', svg).group(1).split())  # type: ignore[union-attr]
    assert float(high) < float(low)


def test_bars_are_as_high_as_their_values() -> None:
    svg = bar_chart({"a": {"target": 0.5, "realised": 0.25}}, y_label="share")
    heights = [float(height) for height in re.findall(r'<rect [^>]*height="([\d.]+)"', svg)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)


def test_names_cannot_become_markup() -> None:
    svg = bar_chart({"<script>": {"target": 1.0}}, y_label="share")
    assert "<script>" not in svg
