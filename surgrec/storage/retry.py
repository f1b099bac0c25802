"""How often, and for how long, a store that fails is asked again."""

import random
from dataclasses import dataclass

_jitter = random.SystemRandom()  # the global generator's state belongs to the user


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Waits between the tries of one call to an object store, and their end."""

    deadline_s: float = 300.0
    """Seconds from a call's first failure to its last try: half of the 600 s after which NCCL ends the ranks that wait."""
    first_delay_s: float = 0.25
    """Longest wait before the second try; it doubles with every further one."""
    max_delay_s: float = 20.0
    """Longest wait before any try."""
    connect_timeout_s: float = 10.0
    """Seconds a connection may take to open."""
    read_timeout_s: float = 30.0
    """Seconds without one byte after which a connection counts as dead."""

    def delay_s(self, failures: int) -> float:
        """A random wait after the given number of failures: exponential backoff with full jitter.

        Source: Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
        """
        longest_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 32))
        return _jitter.uniform(0.0, longest_s)
