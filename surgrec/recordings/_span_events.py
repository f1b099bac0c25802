"""The events of the decoders of a long recording, and those that belong to a span.

A decoder begins at the keyframe before its span, and the pictures before the span (the run-in) are
discarded. At the end of the span it goes on into the next one for a moment: these pictures (the
seam) must have the same bytes as those of the next decoder.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from surgrec.recordings.decoders import DecodersDisagreeError

NEAR_S = 5e-5
"""Difference of times that rounding explains."""
BEHIND_PICTURES = 2
"""Pictures that a deinterlacer needs behind a picture."""


class Decoded(NamedTuple):
    """A picture was decoded."""

    container_us: int
    """Its time by the container's clock, microseconds."""
    is_corrupt: bool
    follows_error: bool
    """Whether the decoder complained since the picture before."""


class Chosen(NamedTuple):
    """A decoded picture is one of those that are wanted."""

    container_us: int
    data: bytes


@runtime_checkable
class Decoder(Protocol):
    """A running decoder."""

    complains_at_end: bool
    """Whether it complained behind the last picture, known after the events."""

    def events(self) -> Iterator[Decoded | Chosen]:
        """Yield events. Raises FfmpegError or BadVideoError."""

    def kill(self) -> None:
        """End it at once."""


StartDecoder = Callable[[float | None], AbstractContextManager[Decoder]]
"""Starts a decoder at the last keyframe before a time of the container, seconds; None: the start"""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Consecutive pictures."""

    first: int
    """Index of its first picture."""
    seam: int
    """Index of the picture behind the seam at its beginning."""
    seek_s: float | None
    """Where its decoder begins, seconds of the container; None: at the start of the file."""


@dataclass(frozen=True, kw_only=True)
class Spans:
    """A recording that may be decoded by several decoders."""

    times_s: Float64[np.ndarray, " n"]
    """The times of all pictures by the container's clock, seconds, ascending."""
    spans: tuple[Span, ...]

    def end(self, number: int) -> int:
        """Return the index of the picture behind a span."""
        following = number + 1
        return self.spans[following].first if following < len(self.spans) else len(self.times_s)

    def seam(self, number: int) -> int:
        """Return the index of the picture behind the seam at the end of a span."""
        following = number + 1
        return self.spans[following].seam if following < len(self.spans) else len(self.times_s)


Print = tuple[int, bytes]
"""Time and digest of a picture."""


class SpanEvents:
    """The events of one decoder and of the spans that it decodes, one after the other.

    Args:
        spans: The spans of the recording.
        number: The first one of the decoder.
        goes_on: Tells, at the end of a span, whether the decoder takes the next one as well.
    """

    def __init__(self, spans: Spans, number: int, goes_on: Callable[[int], bool]) -> None:
        self._spans, self._goes_on = spans, goes_on
        self._has_begun = False
        self.first = spans.spans[number]
        """The first span."""
        self._reach(number)
        self.seam: deque[Print] = deque()
        """Wanted pictures behind the last span, complete after the events."""

    @property
    def ends_early(self) -> bool:
        """Whether they end before the recording, known after the events."""
        return self._end < len(self._spans.times_s)

    def of(self, decoder: Decoder) -> Iterator[Decoded | Chosen]:
        """Yield the events of the spans.

        Raises:
            DecodersDisagreeError: The pictures are not those of the packets.
        """
        index, total = self.first.first, len(self._spans.times_s)
        for event in decoder.events():
            if self._is_run_in(event):
                continue
            if isinstance(event, Chosen):
                if self._is_inside(event):
                    yield event
                continue

            _require_picture(event, self._spans.times_s, index)
            if index == self._end and self._goes_on(self._number):
                self._reach(self._number + 1)
            if index < self._end:
                yield event
            index += 1
            if self._end < total and index > self._seam + BEHIND_PICTURES:
                return

        if index != total or decoder.complains_at_end:
            raise DecodersDisagreeError(
                f"a decoder ended behind {index} of {total} pictures, or complained there"
            )

    def _is_run_in(self, event: Decoded | Chosen) -> bool:
        """Return whether a picture comes before the spans. Check where the run-in begins."""
        span = self.first
        if not self._has_begun and span.seek_s is not None:
            before_s = self._spans.times_s[self._spans.spans[self._number - 1].first]
            if not before_s <= event.container_us / 1e6 <= span.seek_s:
                raise disagree("a decoder began at a wrong place", event.container_us)
        self._has_begun = True
        return bool(event.container_us / 1e6 + NEAR_S < self._spans.times_s[span.first])

    def _is_inside(self, event: Chosen) -> bool:
        """Return whether a wanted picture is in a span. Take note of those of the seam."""
        time_s, times_s = event.container_us / 1e6 + NEAR_S, self._spans.times_s
        if self._end == len(times_s) or time_s < times_s[self._end]:
            return True
        if time_s < times_s[self._seam]:
            self.seam.append(print_of(event))
        return False

    def _reach(self, number: int) -> None:
        """Include a span."""
        self._number = number
        self._end, self._seam = self._spans.end(number), self._spans.seam(number)


def _require_picture(event: Decoded, times_s: Float64[np.ndarray, " n"], index: int) -> None:
    """Check that a picture is sound and that of a packet."""
    if event.is_corrupt or event.follows_error:
        raise disagree("a decoder complained", event.container_us)
    if index >= len(times_s) or abs(event.container_us / 1e6 - times_s[index]) > NEAR_S:
        raise disagree("a decoder returned a picture at another time", event.container_us)


def disagree(what: str, container_us: int) -> DecodersDisagreeError:
    """Return the error of decoders that disagree at a time of the container."""
    return DecodersDisagreeError(f"{what} at {container_us / 1e6:.3f} s of the container's clock")


def print_of(event: Chosen) -> Print:
    """Return the print of a wanted picture."""
    return event.container_us, hashlib.blake2b(event.data, digest_size=16).digest()
