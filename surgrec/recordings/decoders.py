"""Decoders that several videos share: a long video uses those that no other video needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

SPAN_S = 60.0
"""Shortest stretch of a recording for a decoder of its own, seconds."""


class DecodersDisagreeError(Exception):
    """Several decoders of a video returned other frames than one decoder would. Use one decoder.

    The text gives the finding.
    """


@runtime_checkable
class SharedSpans(Protocol):
    """Spans of one recording that several processes decode, on any machines."""

    def stored(self, number: int) -> Path | None:
        """Return the folder of a decoded span; None: it is not stored."""

    def claim(self, number: int) -> bool:
        """Return whether this process may decode a span: it is not stored, and nobody has it."""

    def progress(self, number: int) -> int:
        """Return a number that changes while another process decodes a span."""

    def discard(self) -> None:
        """Remove all spans: nobody needs them any more."""


class Decoders:
    """The right to run a number of decoders at once. Threads may share it.

    Args:
        count: The number.
        span_s: Shortest stretch of a recording for a decoder of its own, seconds.
        shared: The spans that other processes decode as well; None: none do.

    Example:
        >>> decoders = Decoders(4)
        >>> with decoders.one_for_a_video():
        ...     is_idle = decoders.lend()
    """

    def __init__(
        self, count: int, *, span_s: float = SPAN_S, shared: SharedSpans | None = None
    ) -> None:
        self.count, self.span_s, self.shared = count, span_s, shared
        self._lock = threading.Lock()
        self._videos = self._lent = 0

    @contextmanager
    def one_for_a_video(self) -> Iterator[None]:
        """Use one decoder inside the `with` block. A video never waits for a lent decoder."""
        with self._lock:
            self._videos += 1
        try:
            yield
        finally:
            with self._lock:
                self._videos -= 1

    def stop_sharing(self) -> None:
        """Decode without other processes from now on, because one decoder must do it."""
        if self.shared is not None:
            self.shared.discard()
            self.shared = None

    def lend(self) -> bool:
        """Return whether a further decoder may be used: none if all are in use."""
        with self._lock:
            is_idle = self._videos + self._lent < self.count
            self._lent += is_idle
            return is_idle

    def give_back(self) -> None:
        """Return a lent decoder."""
        with self._lock:
            self._lent -= 1

    def are_enough(self) -> bool:
        """Return whether no video needs one of the lent decoders."""
        with self._lock:
            return self._videos + self._lent <= self.count
