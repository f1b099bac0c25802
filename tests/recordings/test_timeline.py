"""The clock of a recording, from the times and places of its packets."""

import math
from dataclasses import replace
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from surgrec.recordings._packets import Packets
from surgrec.recordings._timeline import Timeline, VideoClock, make_timeline

RATE = 25


def packets(
    times: "np.ndarray[tuple[int], np.dtype[np.float64]]", *, holes: dict[int, int] | None = None
) -> Packets:
    """Return packets of 100 bytes; `holes` are bytes skipped before a packet."""
    count = len(times)
    skipped = np.zeros(count, dtype=np.int64)
    for index, size in (holes or {}).items():
        skipped[index] = size
    return Packets(
        times_s=times,
        order_s=times,
        positions=np.arange(count, dtype=np.int64) * 100 + np.cumsum(skipped),
        sizes=np.full(count, 100, dtype=np.int64),
        are_keys=np.arange(count) % RATE == 0,
    )


def steady(seconds: float, start_s: float = 0.0, rate: float = RATE) -> "np.ndarray":  # type: ignore[type-arg]
    return start_s + np.arange(round(seconds * rate)) / rate


def timeline_of(
    times: "np.ndarray",  # type: ignore[type-arg]
    *,
    holes: dict[int, int] | None = None,
    joinable: bool = False,
    counts: bool = False,
    listed: int = 0,
    is_whole: bool = False,
    average: Fraction = Fraction(RATE),
    keys: "np.ndarray | None" = None,  # type: ignore[type-arg]
) -> Timeline:
    found = packets(times, holes=holes)
    return make_timeline(
        found if keys is None else replace(found, are_keys=keys),
        average_rate=average,
        nominal_rate=Fraction(RATE),
        joinable=joinable,
        counts=counts,
        listed=listed,
        is_whole=is_whole,
    )


def test_time_zero_is_the_first_picture_wherever_the_clock_begins() -> None:
    for start_s in (-0.08, 0.0, 100.0, 95_000.0):
        timeline = timeline_of(steady(20, start_s))
        assert timeline.start_s == pytest.approx(start_s)
        assert timeline.duration_s == pytest.approx(20)
        assert timeline.pictures_s[0] == 0
        assert not timeline.gaps
        assert not timeline.joins


def test_a_step_back_is_a_join_at_which_times_run_on() -> None:
    timeline = timeline_of(np.concatenate([steady(12, 500), steady(12, 0)]))
    assert timeline.duration_s == pytest.approx(24)
    assert [(join.at_s, join.after_s) for join in timeline.joins] == [(pytest.approx(12), 0)]


def test_a_step_forward_without_bytes_is_a_join_in_mpeg_streams_only() -> None:
    times = np.concatenate([steady(12), steady(12, 1000)])
    assert timeline_of(times, joinable=True).duration_s == pytest.approx(24)
    kept = timeline_of(times)
    assert kept.duration_s == pytest.approx(1012)
    assert [(gap.start_s, gap.end_s) for gap in kept.gaps] == [(pytest.approx(12), 1000)]


def test_a_step_forward_over_unreadable_bytes_is_a_gap() -> None:
    times = np.concatenate([steady(12), steady(12, 30)])
    timeline = timeline_of(times, joinable=True, holes={300: 18 * RATE * 100})
    assert timeline.duration_s == pytest.approx(42)
    assert timeline.is_gap(13.0, 14.0)
    # The packet behind the hole has a keyframe. The one before it may be torn.
    assert [doubt.start_s for doubt in timeline.doubts] == [pytest.approx(299 / RATE)]


def test_a_step_of_more_than_half_a_day_is_no_gap() -> None:
    times = np.concatenate([steady(12), steady(12, 29 * 3600)])
    assert timeline_of(times).duration_s == pytest.approx(24)


@pytest.mark.parametrize("wrong_s", [-5000.0, 30.0, 90_000.0])
def test_a_few_packets_with_wrong_times_do_not_move_the_others(wrong_s: float) -> None:
    times = steady(24)
    times[200:225] += wrong_s
    timeline = timeline_of(times)
    assert timeline.duration_s == pytest.approx(24)
    assert np.allclose(timeline.pictures_s, steady(24), atol=0.05)


def test_slow_pictures_are_no_gaps_but_a_long_pause_is() -> None:
    slow = timeline_of(np.concatenate([steady(25, rate=1), steady(5, 25)]), average=Fraction(5))
    assert not slow.gaps
    assert slow.rate == 25
    pause = timeline_of(np.concatenate([steady(5), steady(5, 8)]))
    assert [(gap.start_s, gap.end_s) for gap in pause.gaps] == [(pytest.approx(5), 8)]


def test_the_rate_of_jittering_times_is_their_rate() -> None:
    jitter = np.random.default_rng(0).uniform(-0.01, 0.01, 600)
    times = np.round(np.arange(600) / 30 + 1 + jitter, 3)
    timeline = timeline_of(times, average=Fraction(30))
    assert timeline.rate == 30


def test_a_clock_that_counts_pictures_is_set_behind_lost_ones() -> None:
    found = steady(17)
    timeline = timeline_of(found, holes={250: 30_000}, counts=True, listed=750)
    assert timeline.duration_s == pytest.approx(30)
    assert [(gap.start_s, gap.end_s) for gap in timeline.gaps] == [
        (pytest.approx(10), pytest.approx(23))
    ]
    unknown = timeline_of(found, holes={250: 30_000}, counts=True)
    assert (unknown.doubts[-1].start_s, unknown.doubts[-1].end_s) == (pytest.approx(10), math.inf)


def test_removed_packets_leave_a_trace_that_sets_the_clock() -> None:
    timeline = timeline_of(steady(17), holes={250: 60}, counts=True, listed=750, is_whole=True)
    assert timeline.duration_s == pytest.approx(30)
    assert [(gap.start_s, gap.end_s) for gap in timeline.gaps] == [
        (pytest.approx(10), pytest.approx(23))
    ]


def test_behind_lost_packets_pictures_are_doubtful_up_to_a_keyframe() -> None:
    times = np.delete(steady(24), np.arange(260, 270))
    keys = np.isin(np.round(times * RATE), np.arange(0, 600, RATE))
    assert not timeline_of(times, keys=keys).doubts  # the recorder paused
    timeline = timeline_of(times, keys=keys, holes={260: 60})
    assert timeline_of(times, keys=keys, joinable=True).doubts == timeline.doubts
    torn, behind = timeline.doubts
    assert torn.start_s == pytest.approx(259 / RATE)
    assert (behind.start_s, behind.end_s) == (pytest.approx(270 / RATE), pytest.approx(275 / RATE))


def test_pauses_of_a_variable_rate_are_no_lost_packets() -> None:
    times = np.cumsum(np.tile([0.04, 0.04, 0.2, 0.5], 100))
    assert not timeline_of(times).doubts


def test_packets_without_any_times_follow_each_other_at_the_stated_rate() -> None:
    timeline = timeline_of(np.full(300, np.nan))
    assert timeline.duration_s == pytest.approx(12)


def test_one_picture_is_a_video() -> None:
    assert timeline_of(np.array([7.0])).duration_s == pytest.approx(1 / RATE)


times_of_pieces = st.lists(
    st.tuples(
        st.floats(-1e5, 1e5), st.integers(1, 60), st.sampled_from([1.0, 5.0, 25.0, 29.97, 60.0])
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40, deadline=None)
@given(pieces=times_of_pieces, joinable=st.booleans(), counts=st.booleans())
def test_any_times_give_a_clock_that_runs_from_zero(
    pieces: list[tuple[float, int, float]], joinable: bool, counts: bool
) -> None:
    times = np.concatenate([start + np.arange(count) / rate for start, count, rate in pieces])
    timeline = timeline_of(times, joinable=joinable, counts=counts)
    assert timeline.pictures_s[0] == 0
    assert np.all(np.diff(timeline.pictures_s) > 0)
    assert 0 < timeline.duration_s < 1e6
    assert timeline.rate > 0
    spans = [edge for span in timeline.spans for edge in span]
    assert spans == sorted(spans)
    clock = VideoClock(timeline)
    assert all(-1e-6 <= clock.time_of(float(time)) <= timeline.duration_s + 1 for time in times)


@settings(max_examples=20, deadline=None)
@given(start_s=st.floats(-100, 1e5), lengths=st.lists(st.integers(30, 200), min_size=1, max_size=5))
def test_decoded_pictures_get_the_times_of_their_packets(
    start_s: float, lengths: list[int]
) -> None:
    times = np.concatenate([start_s + np.arange(length) / RATE for length in lengths])
    clock = VideoClock(timeline_of(times))
    found = [clock.time_of(float(time)) for time in times]
    assert found == pytest.approx((np.arange(len(times)) / RATE).tolist(), abs=1e-4)
