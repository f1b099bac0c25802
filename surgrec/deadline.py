"""The one deadline of all reads and requests: a fixed time, plus time for the bytes that arrive."""

import time
from collections.abc import Callable

MIN_BYTES_PER_S = 16 * 1024.0
"""Rate of progress at which the deadline moves as fast as the clock. A slower operation ends."""


class Deadline:
    """The end of one operation on a store or a file, its retries included.

    An operation may last `allowed_s`. Bytes that arrive move the end, as far as MIN_BYTES_PER_S
    allows, but never beyond `allowed_s` from now. So a transfer of n bytes ends within
    `allowed_s + n / MIN_BYTES_PER_S` seconds, a long one is not cut while bytes come, and an outage
    in its middle is waited out for `allowed_s`.

    Args:
        allowed_s: Seconds.
        clock: Source of the time, seconds.
    """

    def __init__(self, allowed_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._allowed_s = allowed_s
        self._began = clock()
        self._end = self._began + allowed_s

    def extend(self, allowed_s: float) -> None:
        """Allow at least this time. It is no progress: a second call changes nothing."""
        longer_s = max(0.0, allowed_s - self._allowed_s)
        self._allowed_s += longer_s
        self._end += longer_s

    def add(self, num_bytes: int) -> None:
        """Count new bytes as progress."""
        latest = self._clock() + self._allowed_s
        self._end = max(self._end, min(self._end + num_bytes / MIN_BYTES_PER_S, latest))

    @property
    def elapsed_s(self) -> float:
        """Seconds since the operation began."""
        return self._clock() - self._began

    @property
    def left_s(self) -> float:
        """Seconds until the end; negative after it."""
        return self._end - self._clock()
