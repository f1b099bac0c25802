"""Charts show every finite value at its place, and never turn a name into markup."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.report._plots import (
    COLORS,
    Bar,
    Chart,
    Interval,
    Line,
    Point,
    interval_chart,
    line_chart,
    round_ticks,
    target_chart,
)

Element = ElementTree.Element


def draw_lines(*lines: Line, **options: object) -> Chart:
    return line_chart(lines, title="loss", chart_id="loss", **options)  # type: ignore[arg-type]


def one_line(points: Sequence[Point], **options: object) -> Chart:
    return draw_lines(Line(points=points, label="loss"), **options)


def parse(chart: Chart) -> Element:
    assert chart.svg is not None
    return ElementTree.fromstring(chart.svg.replace("xlink:href", "href"))


def texts(chart: Chart) -> dict[str, Element]:
    """The texts of a chart that occur in it once, by their words."""
    elements = [each for each in parse(chart).iter("text") if each.text]
    words = [str(each.text) for each in elements]
    return {str(each.text): each for each in elements if words.count(str(each.text)) == 1}


def paths(chart: Chart, color: str) -> list[list[tuple[float, float]]]:
    """The points of each path with this stroke or fill that is drawn on the chart."""
    svg = parse(chart)
    markers = {id(path) for defs in svg.iter("defs") for path in defs.iter("path")}
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path.get("d", ""))]
        for path in svg.iter("path")
        if color in path.get("style", "") and id(path) not in markers
    ]


@given(st.floats(-1e3, 1e3), st.floats(1e-2, 1e6))
def test_ticks_enclose_the_values_with_few_round_numbers(low: float, span: float) -> None:
    ticks = round_ticks([low, low + span])
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step
    assert ticks[-1] >= low + span - 1e-6 * step
    assert 2 <= len(ticks) <= 12
    assert float(f"{step:.3g}") == pytest.approx(step), "a round number"


def test_a_constant_has_an_axis() -> None:
    assert round_ticks([3.0, 3.0])[0] < 3.0 < round_ticks([3.0, 3.0])[-1]
    assert round_ticks([0.0])[0] < 0.0 < round_ticks([0.0])[-1]
    assert round_ticks([7], integer=True) == [7, 8]


def test_an_axis_shows_zero_unless_that_would_flatten_the_values() -> None:
    assert round_ticks([0.2, 1.0])[0] == 0.0
    assert round_ticks([0.8, 1.0])[0] == 0.8


def test_only_finite_points_are_drawn() -> None:
    chart = one_line([(0, 1.0), (1, math.nan), (2, math.inf), (3, 0.5)])
    (line,) = paths(chart, COLORS[0])
    assert len(line) == 2
    assert "nan" not in str(chart.svg)


def test_a_chart_without_a_finite_point_has_no_picture() -> None:
    assert one_line([(0, math.inf)]).svg is None


def test_a_single_point_is_visible_as_a_dot() -> None:
    (dot,) = parse(one_line([(0, 1.0)])).iter("use")
    assert COLORS[0] in dot.get("style", "")


def test_a_higher_value_is_drawn_higher() -> None:
    (line,) = paths(one_line([(0, 1.0), (1, 9.0)]), COLORS[0])
    (_, low), (_, high) = line
    assert high < low


def test_a_line_without_a_label_is_thin_and_behind_the_others() -> None:
    points = [(0, 1.0), (1, 2.0)]
    svg = str(draw_lines(Line(points=points, label="loss"), Line(points=points)).svg)
    strokes = re.findall(rf"stroke: {COLORS[0]}[^\"]*stroke-width: ([\d.]+)", svg)
    assert [float(width) for width in strokes] == sorted(float(width) for width in strokes)
    assert svg.index("stroke-opacity: 0.35") < svg.index("stroke-width: 1.8")


def test_labels_of_equal_lines_do_not_touch_and_stay_on_the_chart() -> None:
    lines = [Line(points=[(0, 1.0), (1, 1.0)], label=f"source-{index}") for index in range(30)]
    chart = draw_lines(*lines)
    heights = sorted(float(texts(chart)[line.label].get("y", "")) for line in lines)
    assert min(after - before for before, after in pairwise(heights)) > 12
    _, _, _, height = parse(chart).get("viewBox", "").split()
    assert 0 < heights[0] < heights[-1] < float(height)


def test_close_marks_have_one_text_and_each_names_itself_on_hover() -> None:
    marks = {100: "resumed a", 110: "resumed b", 900: "resumed c"}
    chart = one_line([(0, 1.0), (1000, 1.0)], marks=marks)
    assert {"resumed a", "resumed c"} <= texts(chart).keys()
    assert "resumed b" not in texts(chart)
    titles = [title.text for title in parse(chart).iter("title")]
    assert titles == ["resumed a", "resumed b", "resumed c"]


def test_a_mark_beyond_the_last_point_is_on_the_chart() -> None:
    chart = one_line([(0, 1.0), (1, 1.0)], marks={20: "resumed"})
    (mark,) = paths(chart, "stroke-dasharray")
    assert mark[0][0] < float(parse(chart).get("viewBox", "").split()[2])
    assert "resumed" in texts(chart)


def test_bars_are_as_long_as_their_values_and_strokes_are_at_the_targets() -> None:
    bars = [Bar(label="a", value=0.5, target=0.25), Bar(label="b", value=0.25, target=0.5)]
    chart = target_chart(bars, title="", chart_id="bars")
    long, short = (
        [x for x, _ in path] for path in paths(chart, f"fill: {COLORS[0]}; opacity: 0.75")
    )
    start = min(long)
    assert max(long) - start == pytest.approx(2 * (max(short) - start), rel=0.01)
    strokes = [path[0][0] for path in paths(chart, "stroke-width: 2")]
    assert strokes == pytest.approx([max(short), max(long)], abs=0.2)


@pytest.mark.parametrize("value", [0.5, 0.75], ids=["inside", "outside"])
def test_a_dot_is_at_its_value_and_whiskers_at_the_ends(value: float) -> None:
    interval = Interval(label="trained", value=value, low=0.4, high=0.7, color="#000001")
    chart = interval_chart({"kNN": [interval]}, title="macro F1", chart_id="scores")
    span = next(path for path in paths(chart, "#000001") if len(path) == 2)
    (low, _), (high, _) = span
    dot = [float(use.get("x", "")) for use in parse(chart).iter("use")][-1]
    assert (dot - low) / (high - low) == pytest.approx((value - 0.4) / 0.3, abs=0.01)
    assert f"{value:.3f} [0.400, 0.700]" in texts(chart)


def test_names_cannot_become_markup_or_formulas() -> None:
    name = '</svg><script>"$x^2$'
    interval = Interval(label=name, value=1.0, low=1.0, high=1.0, color="#000")
    charts = [
        line_chart(
            [Line(points=[(0, 1.0)], label=name)] * 2, title=name, chart_id=name, marks={0: name}
        ),
        target_chart([Bar(label=name, value=1.0, target=1.0)], title=name, chart_id=name),
        interval_chart({name: [interval]}, title=name, chart_id=name),
    ]
    for chart in charts:
        assert "<script>" not in str(chart.svg)
        assert name in {element.text for element in parse(chart).iter("text")}
        assert parse(chart).get("aria-label", "").startswith(name)


def test_a_chart_describes_its_numbers_to_a_screen_reader() -> None:
    svg = parse(one_line([(0, 1.0), (20, 0.5)]))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "loss; loss 1 at 0, 0.5 at 20"


def test_charts_of_one_page_share_no_id() -> None:
    def ids(chart_id: str) -> set[str]:
        chart = line_chart([Line(points=[(0, 1.0)], label="x")], title="x", chart_id=chart_id)
        svg = parse(chart)
        references = re.findall(r"(?:url\(|href=\")#([\w.-]+)", str(chart.svg))
        names = [element.get("id", "") for element in svg.iter() if element.get("id")]
        assert set(references) <= set(names)
        assert len(names) == len(set(names)) > 0
        return set(names)

    assert not ids("first") & ids("second")


def test_a_chart_has_the_same_bytes_every_time_whatever_the_user_has_set() -> None:
    first = one_line([(0, 1.0), (1, 2.0)])
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.fonttype": "path"}):
        assert one_line([(0, 1.0), (1, 2.0)]) == first
        assert matplotlib.rcParams["font.size"] == 30, "settings of the process stay"


LONG = "a name of a source, " * 20 + "the last"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("label", [LONG, "W" * 400, "手術" * 100, "תווית", "a\nb\tc" * 30])
def test_a_label_wider_than_its_chart_is_shortened_without_a_warning(label: str) -> None:
    points = [(0, 1.0), (1, 2.0)]
    interval = Interval(label=label, value=0.5, low=0.4, high=0.6, color=COLORS[0])
    for chart in (
        draw_lines(*(Line(points=points, label=f"{end} {label}") for end in "ab")),
        target_chart([Bar(label=label, value=0.5, target=0.2)], title="t", chart_id="t"),
        interval_chart({label: [interval]}, title="t", chart_id="i"),
        one_line(points, marks={1: label}),
    ):
        written = [str(each.text) for each in parse(chart).iter("text")]
        assert max(map(len, written)) <= 36
    assert " ".join(label.split())[-3:] in " ".join(written)


def test_the_description_of_a_chart_has_its_whole_labels() -> None:
    chart = target_chart([Bar(label=LONG, value=0.5, target=0.2)], title="t", chart_id="t")
    assert LONG in parse(chart).get("aria-label", "")


def test_a_label_that_looks_like_an_id_stays_text() -> None:
    label = ' id="line_1" transform="rotate(-0 1 2)"'
    chart = target_chart([Bar(label=label, value=0.5, target=0.2)], title="t", chart_id="t")
    assert label.strip()[:12] in texts_joined(chart)


def texts_joined(chart: Chart) -> str:
    return " ".join(str(each.text) for each in parse(chart).iter("text"))


@pytest.mark.filterwarnings("error")
def test_values_beyond_every_axis_are_left_out() -> None:
    chart = one_line([(0, -1.7e308), (1, 1.0), (2, 1.7e308)])
    assert texts_joined(chart)
    assert one_line([(0, 1.7e308)]).svg is None
    interval = Interval(label="a", value=1.0, low=-1.7e308, high=1.7e308, color=COLORS[0])
    assert interval_chart({"g": [interval]}, title="t", chart_id="i").svg is not None
    assert target_chart([], title="t", chart_id="t").svg is None
