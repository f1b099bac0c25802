"""The policy of retries: how long to wait between tries, and when to give up."""

import random
from dataclasses import dataclass

# Not the global generator: its state belongs to the user.
_jitter = random.SystemRandom()


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """How long to wait for a store: deadlines, waits between tries, timeouts of connections."""

    deadline_s: float = 300.0
    """Seconds without progress after which an operation ends: half of NCCL's timeout for waiting
    ranks. Slow bytes count as progress as far as `Deadline` says."""
    first_answer_s: float = 20.0
    """The same until the store has answered once: a wrong address is seen soon."""
    first_delay_s: float = 0.25
    """Longest wait before the second try, seconds; it doubles with every further try."""
    max_delay_s: float = 20.0
    """Longest wait before any try, seconds."""
    connect_timeout_s: float = 10.0
    """Longest time to open a connection, seconds."""
    read_timeout_s: float = 30.0
    """Seconds without a byte after which a connection counts as dead."""

    def delay_s(self, failures: int) -> float:
        """Return a random wait after this number of failures: exponential backoff with full jitter.

        Source: Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
        """
        longest_s = min(self.max_delay_s, self.first_delay_s * 2.0 ** min(failures - 1, 32))
        return _jitter.uniform(0.0, longest_s)


PATIENT = RetryPolicy(first_answer_s=300.0)
"""The policy of training, which may start during an outage."""
