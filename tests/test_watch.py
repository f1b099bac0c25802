"""Calls that hang, and the end of waiting for them."""

import os
import threading

import pytest

from surgrec.deadline import Deadline
from surgrec.watch import watched


def test_a_result_and_an_error_are_those_of_the_call() -> None:
    assert watched(lambda: 17, Deadline(60.0)) == 17
    with pytest.raises(KeyError, match="no such key"):
        watched(lambda: {}["no such key"], Deadline(60.0))


def test_a_hanging_call_is_given_up_at_the_deadline() -> None:
    hanging = threading.Event()
    with pytest.raises(TimeoutError):
        watched(hanging.wait, Deadline(0.05))
    assert watched(lambda: "next", Deadline(60.0)) == "next"
    hanging.set()


def test_progress_keeps_a_long_call() -> None:
    deadline = Deadline(0.3)
    ticks = threading.Event()

    def call() -> str:
        for _ in range(8):
            ticks.wait(0.1)
            deadline.add(1 << 20)
        return "done"

    assert watched(call, deadline) == "done"


def test_a_forked_child_watches_with_threads_of_its_own() -> None:
    watched(int, Deadline(60.0))
    child = os.fork()
    if not child:
        os._exit(watched(lambda: 7, Deadline(5.0)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
