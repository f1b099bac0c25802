"""Calls that may hang for ever, such as reads from a dead network share, with a deadline.

A thread that waits for a disk cannot be interrupted. So the call runs in a helper thread, and the
caller stops waiting at the deadline.
"""

import os
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar, cast

from surgrec.deadline import Deadline

ResultType = TypeVar("ResultType")


class _Call:
    """One call, and its result or error."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        try:
            self.result = self.function()
        except BaseException as error:  # the caller raises it
            self.error = error


# Inboxes of threads that wait for a call. They are daemons: a hanging one must not keep the
# process. A forked child has none of them.
_idle: list["queue.SimpleQueue[_Call]"] = []
os.register_at_fork(after_in_child=_idle.clear)


def watched(
    function: Callable[[], ResultType], deadline: Deadline, *, grace_s: float = 0.0
) -> ResultType:
    """Call a function, and return its result or raise its error.

    This costs 20 us. A hanging call keeps its thread until it ends.

    Args:
        function: The call. It may move the deadline.
        deadline: When to stop waiting.
        grace_s: Seconds to wait after the deadline.

    Raises:
        TimeoutError: The call has not ended.
    """
    try:
        inbox = _idle.pop()
    except IndexError:
        inbox = queue.SimpleQueue()
        threading.Thread(target=_work, args=(inbox,), name="watched", daemon=True).start()

    call = _Call(function)
    inbox.put(call)
    while not call.done.acquire(timeout=max(0.0, deadline.left_s + grace_s)):
        if deadline.left_s + grace_s <= 0:
            raise TimeoutError(f"no answer within {deadline.elapsed_s:.0f} s")

    if call.error is not None:
        try:
            raise call.error
        finally:
            del call  # break the cycle of error and frame
    return cast(ResultType, call.result)


def _work(inbox: "queue.SimpleQueue[_Call]") -> None:
    while True:
        call = inbox.get()
        call.run()
        _idle.append(inbox)
        call.done.release()
        del call  # its result may be large
