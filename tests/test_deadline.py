"""The rule of deadlines, with a clock of the test."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgrec.deadline import MIN_BYTES_PER_S, Deadline


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def seconds_until_end(next_bytes: Callable[[], int], allowed_s: float = 300.0) -> float:
    """Return when a transfer ends that gets `next_bytes` every second; infinity: not in a day."""
    clock = Clock()
    deadline = Deadline(allowed_s, clock)
    while deadline.left_s > 0 and deadline.elapsed_s < 86_400:
        clock.now += 1.0
        deadline.add(next_bytes())
    return deadline.elapsed_s if deadline.left_s <= 0 else float("inf")


def test_without_a_byte_the_deadline_is_the_allowed_time() -> None:
    assert seconds_until_end(lambda: 0) == 300
    assert seconds_until_end(lambda: 0, allowed_s=3.0) == 3


def test_a_body_that_drips_ends_soon_after() -> None:
    assert 3 <= seconds_until_end(lambda: 1000, allowed_s=3.0) <= 4
    assert 300 <= seconds_until_end(lambda: 1000) <= 320


def test_a_long_body_is_not_cut_while_its_bytes_come() -> None:
    assert seconds_until_end(lambda: int(MIN_BYTES_PER_S)) == float("inf")


def test_a_fast_beginning_earns_no_longer_outage_afterward() -> None:
    arriving = iter([10**9] * 1000)
    assert seconds_until_end(lambda: next(arriving, 0)) == 1000 + 300


@given(arriving=st.lists(st.integers(0, 200_000), max_size=300), allowed_s=st.floats(1.0, 60.0))
def test_n_bytes_end_within_the_allowed_time_and_the_time_of_n_bytes(
    arriving: list[int], allowed_s: float
) -> None:
    bytes_left = iter(arriving)
    bound_s = allowed_s + sum(arriving) / MIN_BYTES_PER_S
    assert seconds_until_end(lambda: next(bytes_left, 0), allowed_s) <= bound_s + 1


def test_an_answer_extends_the_deadline_once() -> None:
    clock = Clock()
    deadline = Deadline(20.0, clock)
    clock.now += 15
    deadline.extend(300.0)
    assert deadline.left_s == pytest.approx(285)
    deadline.extend(300.0)
    deadline.extend(10.0)
    assert deadline.left_s == pytest.approx(285)
