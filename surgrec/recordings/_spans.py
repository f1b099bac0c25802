"""Spans: a long recording is decoded by several decoders at once, as if by one.

Span follows span. A decoder begins at the keyframe before its span, and the pictures before the
span (the run-in) are discarded. At the end of the span it goes on into the next one for a moment:
these pictures (the seam) must have the same bytes as those of the next decoder. If no other decoder
has begun with the next span, it simply goes on.

The pictures of a span must be exactly those of the packets, at their times, without a complaint.
Anything else raises `DecodersDisagreeError`: then one decoder must decode the recording anew.
"""

import os
import queue
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from surgrec.errors import MachineError
from surgrec.mp4_boxes import HEADER_BYTES, box_header
from surgrec.recordings._facts import PartFacts
from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._recording import BadVideoError, Part
from surgrec.recordings._span_events import (
    BEHIND_PICTURES,
    NEAR_S,
    Chosen,
    Decoded,
    Decoder,
    Print,
    Span,
    SpanEvents,
    Spans,
    StartDecoder,
    disagree,
    print_of,
)
from surgrec.recordings._stored_span import StoredLane
from surgrec.recordings.decoders import Decoders, DecodersDisagreeError
from surgrec.recordings.process import starting

_SPOOL_BYTES = 512 << 20
"""Most bytes of decoded pictures of one decoder that wait: three minutes at the defaults."""
_ROLL_S, _ROLL_BINS, _ROLL_PICTURES = 1.0, 3.0, 16
"""Length of run-in and seam: at least so many seconds, wanted pictures and decoded pictures."""
_BEHIND_S = 0.2
"""How far behind a keyframe is sought: demuxers take the last one before the time."""
_WAIT_S = 0.2
_LONGEST_WAIT_S = 900.0
"""How long another process may add nothing to its span: longer than any ffmpeg may be silent."""
_EBML = bytes.fromhex("1a45dfa3")
_CUES = bytes.fromhex("53ab841c53bb6b")
"""Entry of the index in the table of contents of a Matroska file."""
_MOST_BOXES = 10_000


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
        first = _behind(times_s, int(np.searchsorted(times_s, key_s - NEAR_S)), roll_s)
        seam = _behind(times_s, first, roll_s)
        if seam + BEHIND_PICTURES + _ROLL_PICTURES > len(times_s):
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
        decoders: Lends decoders. One is used in any case, unless other processes decode all spans.
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
        self._lanes: deque[_Lane | StoredLane] = deque()
        self._next = self._running = self._lent = 0
        self._begins_at = 0.0
        self.most_running = 0
        """Most decoders of this process that worked at once."""
        self.has_stored = False
        """Whether another process decoded a span."""

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
        seam: deque[Print] = deque()
        for lane in self._ready_lanes():
            for event in lane.events(self._begin_now_and_then):
                if seam and isinstance(event, Chosen) and seam.popleft() != print_of(event):
                    raise disagree("two decoders returned different pictures", event.container_us)
                yield event
            if seam:
                raise DecodersDisagreeError("a decoder returned fewer pictures than another one")

            seam = lane.seam
            if not seam and lane.ends_early:
                raise DecodersDisagreeError("no picture tells whether two decoders agree")
            lane.close()
            self._lanes.popleft()

    def _ready_lanes(self) -> "Iterator[_Lane | StoredLane]":
        """Yield one lane after the other. Waits for spans that other processes decode."""
        seen, since = (-1, 0), 0.0
        while True:
            self._begin()
            if self._lanes:
                yield self._lanes[0]
            elif self._next == len(self._spans.spans):
                return
            else:
                if (progress := self._progress()) != seen:
                    seen, since = progress, time.monotonic()
                elif time.monotonic() - since > _LONGEST_WAIT_S:
                    raise DecodersDisagreeError("another process does not go on with its span")
                time.sleep(_WAIT_S)

    def _progress(self) -> tuple[int, int]:
        """Return the next span, and how far another process has come with it."""
        shared = self._decoders.shared
        return self._next, shared.progress(self._next) if shared else 0

    def _begin_now_and_then(self) -> None:
        if time.monotonic() >= self._begins_at:
            self._begins_at = time.monotonic() + _WAIT_S
            self._begin()

    def _begin(self) -> None:
        """Begin with further spans that are stored, or for which decoders are idle."""
        while len(self._lanes) <= self._decoders.count and (lane := self._next_lane()) is not None:
            self._lanes.append(lane)

    def _next_lane(self) -> "_Lane | StoredLane | None":
        with self._lock:
            number, shared = self._next, self._decoders.shared
            if number == len(self._spans.spans):
                return None
            stored = shared.stored(number) if shared else None
            if stored is None and not self._claim(number):
                return None
            self._next += 1
            self.has_stored = self.has_stored or stored is not None

        if stored is not None:
            return StoredLane(self._spans, number, stored, self._bytes)
        spool = _Spool(self._folder, self._bytes)
        lane = _Lane(self._spans, number, spool, self._start, self._goes_on, self._ended)
        try:
            with starting("a decoder"):
                lane.begin(self._threads)
        except MachineError:
            self._ended()
            spool.close()
            raise
        return lane

    def _claim(self, number: int) -> bool:
        """Take an idle decoder for a span, unless another process has the span."""
        is_lent = self._running > 0
        if is_lent and not self._decoders.lend():
            return False
        if not self._is_ours(number):
            if is_lent:
                self._decoders.give_back()
            return False
        self._lent += is_lent
        self._running += 1
        self.most_running = max(self.most_running, self._running)
        return True

    def _is_ours(self, number: int) -> bool:
        shared = self._decoders.shared
        return shared is None or shared.claim(number)

    def _goes_on(self, number: int) -> bool:
        """Return whether the decoder that is at the end of a span takes the next one as well."""
        with self._lock:
            if number + 1 != self._next or not (self._running == 1 or self._decoders.are_enough()):
                return False
            if not self._is_ours(number + 1):
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
        self._taken, self._spool = SpanEvents(spans, number, goes_on), spool
        self._start, self._ended = start, ended
        self._queue: queue.SimpleQueue[Decoded | _Waiting | None] = queue.SimpleQueue()
        self._decoder: Decoder | None = None
        self._is_stopped = False

    @property
    def seam(self) -> "deque[Print]":
        """Wanted pictures behind the end of the lane, known when its events are read."""
        return self._taken.seam

    @property
    def ends_early(self) -> bool:
        """Whether it ends before the recording, known when its events are read."""
        return self._taken.ends_early

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
        try:
            with self._start(self._taken.first.seek_s) as decoder:
                self._decoder = decoder
                if not self._is_stopped:
                    self._decode(decoder)
        except (FfmpegError, BadVideoError) as error:
            raise DecodersDisagreeError(str(error)) from None
        finally:
            self._ended()
        self._queue.put(None)

    def _decode(self, decoder: Decoder) -> None:
        """Take the events of the spans. The data of wanted pictures waits in the spool."""
        for event in self._taken.of(decoder):
            if self._is_stopped:
                return
            if isinstance(event, Chosen):
                self._queue.put(_Waiting(event.container_us, self._spool.put(event.data)))
            else:
                self._queue.put(event)


class _Waiting(NamedTuple):
    """A wanted picture whose data waits."""

    container_us: int
    place: int


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
