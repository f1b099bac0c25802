"""Spans: a long recording is decoded by several decoders at once, as if by one.

Span follows span. A decoder begins at the keyframe before its span, and the pictures before the
span (the run-in) are discarded. At the end of the span it goes on into the next one for a moment:
these pictures (the seam) must have the same bytes as those of the next decoder. If no other decoder
has begun with the next span, it simply goes on.

The pictures of a span must be exactly those of the packets, at their times, without a complaint.
Anything else raises `DecodersDisagreeError`: then one decoder must decode the recording anew.
"""

import hashlib
import os
import queue
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float64

from surgrec.errors import MachineError
from surgrec.mp4_boxes import HEADER_BYTES, box_header
from surgrec.recordings._facts import PartFacts
from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._recording import BadVideoError, Part
from surgrec.recordings.decoders import Decoders, DecodersDisagreeError
from surgrec.recordings.process import starting

_SPOOL_BYTES = 512 << 20
"""Most bytes of decoded pictures of one decoder that wait: three minutes at the defaults."""
_ROLL_S, _ROLL_BINS, _ROLL_PICTURES = 1.0, 3.0, 16
"""Length of run-in and seam: at least so many seconds, wanted pictures and decoded pictures."""
_BEHIND_S = 0.2
"""How far behind a keyframe is sought: demuxers take the last one before the time."""
_NEAR_S = 5e-5
"""Difference of times that rounding explains."""
_BEHIND_PICTURES = 2
"""Pictures that a deinterlacer needs behind a picture."""
_WAIT_S = 0.2
_EBML = bytes.fromhex("1a45dfa3")
_CUES = bytes.fromhex("53ab841c53bb6b")
"""Entry of the index in the table of contents of a Matroska file."""
_MOST_BOXES = 10_000


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
        """Yield what happens. Raises FfmpegError or BadVideoError."""

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


def find_spans(part: Part, facts: PartFacts, *, span_s: float, rate: float | None) -> Spans:
    """Return the spans of a recording; only one if nothing proves that it can be cut.

    Args:
        part: The recording.
        facts: Its properties.
        span_s: Shortest length of a span, seconds.
        rate: Pictures that are wanted per second; None: all.
    """
    timeline = facts.timeline
    offset_s = timeline.pieces[0].offset_s
    times_s = timeline.pictures_s - offset_s
    spans = [Span(first=0, seam=0, seek_s=None)]
    if not _can_be_cut(part, facts):
        return Spans(times_s=times_s, spans=tuple(spans))

    roll_s = max(_ROLL_S, _ROLL_BINS / rate if rate else 0.0)
    for key_s in (timeline.keys_s - offset_s).tolist():
        if key_s - times_s[spans[-1].first] < max(span_s, 2 * roll_s):
            continue
        first = _behind(times_s, int(np.searchsorted(times_s, key_s - _NEAR_S)), roll_s)
        seam = _behind(times_s, first, roll_s)
        if seam + _BEHIND_PICTURES + _ROLL_PICTURES > len(times_s):
            break
        spans.append(Span(first=first, seam=seam, seek_s=key_s + _BEHIND_S))
    return Spans(times_s=times_s, spans=tuple(spans))


def _behind(times_s: Float64[np.ndarray, " n"], index: int, roll_s: float) -> int:
    """Return the index of a picture that comes long enough behind another one."""
    start_s = times_s[min(index, len(times_s) - 1)]
    later = int(np.searchsorted(times_s, start_s + roll_s))
    return max(later, index + _ROLL_PICTURES)


def _can_be_cut(part: Part, facts: PartFacts) -> bool:
    """Return whether decoders can begin anywhere: a sound file with one clock and an index."""
    timeline = facts.timeline
    if len(facts.fields.stretches) > 1:
        return False
    if timeline.is_bare or timeline.is_separate or timeline.doubts or timeline.joins:
        return False
    if any(piece.offset_s != timeline.pieces[0].offset_s for piece in timeline.pieces):
        return False
    return not part.mended and not part.order.spans and _has_index(part)


def _has_index(part: Part) -> bool:
    """Return whether it is a Matroska file with an index, or an MP4 file without fragments."""
    head = part.read(4096, 0)
    if head.startswith(_EBML):
        return _CUES in head
    kinds: set[bytes] = set()
    at = 0
    for _ in range(_MOST_BOXES):
        if at >= part.size:
            break
        kind, _, length = box_header(part.read(HEADER_BYTES, at), part.size - at)
        if length < 8 or kind == b"moof":
            return False
        kinds.add(kind)
        at += length
    return at >= part.size and {b"moov", b"mdat"} <= kinds


class SpanDecoding:
    """The events of a recording, decoded by several decoders at once. Use it in a `with` block.

    Args:
        spans: The spans.
        start: Starts a decoder.
        decoders: Lends decoders. One is used in any case.
        folder: Folder for decoded pictures that wait, in files without names.
        picture_bytes: Size of each picture.
    """

    def __init__(
        self,
        spans: Spans,
        start: StartDecoder,
        decoders: Decoders,
        folder: Path,
        *,
        picture_bytes: int,
    ) -> None:
        self._spans, self._start, self._decoders = spans, start, decoders
        self._folder, self._bytes = folder, picture_bytes
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(decoders.count + 1)
        self._lanes: deque[_Lane] = deque()
        self._next = self._running = self._lent = 0
        self.most_running = 0
        """Most decoders that worked at once."""

    def __enter__(self) -> "SpanDecoding":
        return self

    def __exit__(self, *error: object) -> None:
        for lane in self._lanes:
            lane.stop()
        self._threads.shutdown()
        for lane in self._lanes:
            lane.close()

    def events(self) -> Iterator[Decoded | Chosen]:
        """Yield the events in the order of one decoder.

        Raises:
            DecodersDisagreeError: One decoder would possibly return something else.
            OSError: The disk is full.
        """
        seam: deque[_Print] = deque()
        self._begin()
        while self._lanes:
            lane = self._lanes[0]
            for event in lane.events(self._begin):
                if seam and isinstance(event, Chosen) and seam.popleft() != _print_of(event):
                    raise _disagree("two decoders returned different pictures", event.container_us)
                yield event
            if seam:
                raise DecodersDisagreeError("a decoder returned fewer pictures than another one")

            seam = lane.seam
            if not seam and lane.ends_early:
                raise DecodersDisagreeError("no picture tells whether two decoders agree")
            lane.close()
            self._lanes.popleft()
            self._begin()
        if self._next < len(self._spans.spans):
            raise DecodersDisagreeError("no decoder took the last spans")

    def _begin(self) -> None:
        """Begin with further spans if decoders are idle."""
        while len(self._lanes) <= self._decoders.count and (number := self._claim()) is not None:
            spool = _Spool(self._folder, self._bytes)
            lane = _Lane(self._spans, number, spool, self._start, self._goes_on, self._ended)
            try:
                with starting("a decoder"):
                    lane.begin(self._threads)
            except MachineError:
                self._ended()
                spool.close()
                raise
            self._lanes.append(lane)

    def _claim(self) -> int | None:
        """Return the number of the next span if a decoder for it is idle."""
        with self._lock:
            if self._next == len(self._spans.spans):
                return None
            if self._running:
                if not self._decoders.lend():
                    return None
                self._lent += 1
            self._running += 1
            self.most_running = max(self.most_running, self._running)
            self._next += 1
            return self._next - 1

    def _goes_on(self, number: int) -> bool:
        """Return whether the decoder that is at the end of a span takes the next one as well."""
        with self._lock:
            if number + 1 != self._next or not (self._running == 1 or self._decoders.are_enough()):
                return False
            self._next += 1
            return True

    def _ended(self) -> None:
        """Take note that a decoder has ended."""
        with self._lock:
            self._running -= 1
            if self._lent > max(0, self._running - 1):
                self._lent -= 1
                self._decoders.give_back()


class _Lane:
    """One decoder and the spans that it decodes, one after the other.

    Args:
        spans: The spans of the recording.
        number: The first one of the lane.
        spool: Holds pictures that wait.
        start: Starts a decoder.
        goes_on: Tells, at the end of a span, whether the next one is in the lane as well.
        ended: Is called when the decoder has ended, before the last event can be read.
    """

    def __init__(
        self,
        spans: Spans,
        number: int,
        spool: "_Spool",
        start: StartDecoder,
        goes_on: Callable[[int], bool],
        ended: Callable[[], None],
    ) -> None:
        self._spans, self._spool = spans, spool
        self._start, self._goes_on, self._ended = start, goes_on, ended
        self._queue: queue.SimpleQueue[Decoded | _Waiting | None] = queue.SimpleQueue()
        self._decoder: Decoder | None = None
        self._is_stopped = self._has_begun = False
        self._reach(number)
        self.seam: deque[_Print] = deque()
        """Wanted pictures behind the end of the lane, known when its events are read."""

    @property
    def ends_early(self) -> bool:
        """Whether it ends before the recording, known when its events are read."""
        return self._end < len(self._spans.times_s)

    def begin(self, threads: ThreadPoolExecutor) -> None:
        """Decode in a thread."""
        self._result = threads.submit(self._run)

    def stop(self) -> None:
        """End the decoder and the thread soon."""
        self._is_stopped = self._spool.is_stopped = True
        if self._decoder is not None:
            self._decoder.kill()

    def close(self) -> None:
        """Remove the pictures that wait. The thread must have ended, or be about to."""
        self._result.exception()
        self._spool.close()

    def events(self, meanwhile: Callable[[], None]) -> Iterator[Decoded | Chosen]:
        """Yield the events of the lane.

        Args:
            meanwhile: Is called again and again.

        Raises:
            DecodersDisagreeError: The pictures are not those of the packets.
            OSError: The disk is full.
        """
        while True:
            meanwhile()
            has_ended = self._result.done()
            try:
                entry = self._queue.get(timeout=0 if has_ended else _WAIT_S)
            except queue.Empty:
                if has_ended:
                    self._result.result()  # raises its error
                continue

            if entry is None:
                return
            if isinstance(entry, Decoded):
                yield entry
            else:
                yield Chosen(entry.container_us, self._spool.take(entry.place))

    def _run(self) -> None:
        first = self._spans.spans[self._number]
        try:
            with self._start(first.seek_s) as decoder:
                self._decoder = decoder
                if not self._is_stopped:
                    self._decode(first, decoder)
        except (FfmpegError, BadVideoError) as error:
            raise DecodersDisagreeError(str(error)) from None
        finally:
            self._ended()
        self._queue.put(None)

    def _decode(self, span: Span, decoder: Decoder) -> None:
        """Take the events of the spans and of the seam behind them."""
        index, total = span.first, len(self._spans.times_s)
        for event in decoder.events():
            if self._is_stopped:
                return
            if self._is_run_in(event, span):
                continue
            if isinstance(event, Chosen):
                self._take(event)
                continue

            _require_picture(event, self._spans.times_s, index)
            if index == self._end and self._goes_on(self._number):
                self._reach(self._number + 1)
            if index < self._end:
                self._queue.put(event)
            index += 1
            if self._end < total and index > self._seam + _BEHIND_PICTURES:
                return

        if index != total or decoder.complains_at_end:
            raise DecodersDisagreeError(
                f"a decoder ended behind {index} of {total} pictures, or complained there"
            )

    def _is_run_in(self, event: Decoded | Chosen, span: Span) -> bool:
        """Return whether a picture comes before a span. Check where the run-in begins."""
        if not self._has_begun and span.seek_s is not None:
            before_s = self._spans.times_s[self._spans.spans[self._number - 1].first]
            if not before_s <= event.container_us / 1e6 <= span.seek_s:
                raise _disagree("a decoder began at a wrong place", event.container_us)
        self._has_begun = True
        return bool(event.container_us / 1e6 + _NEAR_S < self._spans.times_s[span.first])

    def _reach(self, number: int) -> None:
        """Include a span."""
        self._number = number
        self._end, self._seam = self._spans.end(number), self._spans.seam(number)

    def _take(self, event: Chosen) -> None:
        """Take a wanted picture of a span, or of the seam."""
        time_s, times_s = event.container_us / 1e6 + _NEAR_S, self._spans.times_s
        if self._end == len(times_s) or time_s < times_s[self._end]:
            self._queue.put(_Waiting(event.container_us, self._spool.put(event.data)))
        elif time_s < times_s[self._seam]:
            self.seam.append(_print_of(event))


def _require_picture(event: Decoded, times_s: Float64[np.ndarray, " n"], index: int) -> None:
    """Check that a picture is sound and that of a packet."""
    if event.is_corrupt or event.follows_error:
        raise _disagree("a decoder complained", event.container_us)
    if index >= len(times_s) or abs(event.container_us / 1e6 - times_s[index]) > _NEAR_S:
        raise _disagree("a decoder returned a picture at another time", event.container_us)


def _disagree(what: str, container_us: int) -> DecodersDisagreeError:
    return DecodersDisagreeError(f"{what} at {container_us / 1e6:.3f} s of the container's clock")


class _Waiting(NamedTuple):
    """A wanted picture whose data waits."""

    container_us: int
    place: int


_Print = tuple[int, bytes]
"""Time and digest of a picture."""


def _print_of(event: Chosen) -> _Print:
    return event.container_us, hashlib.blake2b(event.data, digest_size=16).digest()


class _Spool:
    """Pictures that wait, in a file without a name. One thread puts, another one takes.

    Args:
        folder: Folder of the file.
        size: Bytes of each picture.

    Raises:
        OSError: The file cannot be written.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._file = tempfile.TemporaryFile(dir=str(folder), buffering=0)  # noqa: SIM115
        self._left = threading.Semaphore(max(2, _SPOOL_BYTES // size))
        # The place that became free last is used first: a quick reader needs a short file.
        self._free: deque[int] = deque()
        self._places = 0
        self.is_stopped = False
        """Whether nothing more is taken."""

    def put(self, data: bytes) -> int:
        """Store a picture and return its place. Waits for a free one.

        Raises:
            OSError: The disk is full.
        """
        while not self.is_stopped:
            if not self._left.acquire(timeout=_WAIT_S):
                continue
            if self._free:
                place = self._free.pop()
            else:
                place, self._places = self._places, self._places + 1
            rest, at = memoryview(data), place * self._size
            while rest:
                written = os.pwrite(self._file.fileno(), rest, at)
                rest, at = rest[written:], at + written
            return place
        return 0

    def take(self, place: int) -> bytes:
        """Return the picture at a place, which becomes free."""
        data = os.pread(self._file.fileno(), self._size, place * self._size)
        self._free.append(place)
        self._left.release()
        return data

    def close(self) -> None:
        """Remove the file."""
        self._file.close()
