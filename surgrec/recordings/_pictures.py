"""The pictures of a recording: decoded once, upright, deinterlaced, with square pixels."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from surgrec.recordings._demux import demux
from surgrec.recordings._facts import PartFacts
from surgrec.recordings._ffmpeg import Ffmpeg, FfmpegError, read_error
from surgrec.recordings._inspect import RecordingFacts
from surgrec.recordings._recording import BadVideoError, Part, Recording
from surgrec.recordings._span_events import Chosen, Decoded, Spans
from surgrec.recordings._spans import SpanDecoding, find_spans
from surgrec.recordings._stored_span import store_span
from surgrec.recordings._timeline import Timeline, VideoClock
from surgrec.recordings._trust import PictureJudge
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.process import enlarge_pipe, starting
from surgrec.recordings.view import View

PixelFormat = Literal["yuv420p", "rgb24"]
_BYTES_PER_PIXEL = {"yuv420p": 1.5, "rgb24": 3.0}
_MARK = "surgrec"
"""Key of the metadata with which ffmpeg prints the time of a wanted picture."""
_TIMES_BYTES = 1 << 16
_SCALER = "flags=bicubic+accurate_rnd+bitexact"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A decoded picture."""

    time_s: float
    """When it appears, seconds of the video."""
    data: bytes
    """Its pixels: planes of yuv420p, or rows of rgb24."""
    is_trusted: bool
    """Whether it shows its own time: not behind damage up to the next keyframe."""


class PictureReader:
    """The pictures of a recording in the order in which they appear. Use it in a `with` block.

    Args:
        recording: The recording.
        facts: Its properties.
        size: Width and height of the returned pictures, pixels.
        pixels: Their format: limited range for yuv420p, full range for rgb24.
        rate: Pictures that are wanted per second of video; others may be skipped. If the recording
            is steady, those nearest to the multiples of `1 / rate` are returned. None: all.
        view: The part of the pictures that is shown.
        keys_only: Decode keyframes only, which is much faster.
        decoders: Lends further decoders for a long recording. None: one decoder is used.
        folder: Folder for decoded pictures that wait, in files without names. For `decoders`.

    Example:
        >>> with PictureReader(recording, facts, size=(456, 256)) as pictures:
        ...     times = [picture.time_s for picture in pictures]
    """

    def __init__(
        self,
        recording: Recording,
        facts: RecordingFacts,
        *,
        size: tuple[int, int],
        pixels: PixelFormat = "yuv420p",
        rate: float | None = None,
        view: View = View(),
        keys_only: bool = False,
        decoders: Decoders | None = None,
        folder: Path | None = None,
    ) -> None:
        self._recording, self._facts = recording, facts
        self._decoders, self._folder = decoders, folder
        self._size, self._pixels, self._rate = size, pixels, rate
        self._view, self._keys_only = view, keys_only
        self._running = ExitStack()
        self.complaints = 0
        """Number of complaints of the decoder, complete after the last picture."""
        self.damaged_s: list[float] = []
        """About when they came, seconds of the video, ascending."""
        self.decoders_used = 1
        """Most decoders that worked at once; those of other processes count as one."""

    def __enter__(self) -> "PictureReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures.

        Raises:
            FfmpegError: ffmpeg cannot decode the file.
            BadVideoError: The file cannot be read for now, or needs too much memory or time.
            DecodersDisagreeError: Only one decoder may decode this recording.
            OSError: The disk of the folder is full.
        """
        decoders = self._decoders
        if decoders is not None and (decoders.count > 1 or decoders.shared is not None):
            spans = self._spans(decoders.span_s)
            if spans is not None:
                yield from self._pictures_of(spans, decoders)
                return

        for facts, start_s in zip(self._facts.parts, self._facts.starts_s, strict=True):
            decoder = self._running.enter_context(self._decoder(facts))
            for picture in decoder:
                yield replace(picture, time_s=picture.time_s + start_s) if start_s else picture
            self._running.close()
            self.complaints += decoder.complaints
            self.damaged_s += [start_s + time_s for time_s in decoder.damaged_s]

    def num_spans(self, span_s: float) -> int:
        """Return the number of spans of at least so many seconds that decoders may divide up."""
        spans = self._spans(span_s)
        return len(spans.spans) if spans is not None else 1

    def decoded_bytes(self) -> int:
        """Return the size of all pictures, as far as the length of the recording tells."""
        number = len(self._facts.timeline.pictures_s)
        if self._rate is not None:
            number = min(number, math.ceil(self._facts.duration_s * self._rate) + 1)
        return number * self._picture_bytes

    def store_span(self, number: int, folder: Path, span_s: float) -> None:
        """Decode one span for a reader in another process, which compares it with its neighbors.

        Args:
            number: The span, one of `num_spans`.
            folder: An empty folder.
            span_s: As of `num_spans`.

        Raises:
            OSError: The disk of the folder is full.
        """
        spans = self._spans(span_s)
        assert spans is not None
        store_span(spans, number, partial(self._decoder, self._facts.parts[0]), folder)

    def _decoder(self, facts: PartFacts, seek_s: float | None = None) -> "_Decoder":
        shown = list(self._view.filters(self._facts.width, self._facts.height))
        chosen = [] if self._rate is None else [_selection(self._facts.timeline, self._rate)]
        return _Decoder(
            self._recording.part(facts.start, facts.end),
            facts,
            self._picture_bytes,
            partial(_output, facts, self._size, self._pixels, chosen, shown),
            (
                *(_KEYS_ONLY if self._keys_only else ()),
                *(() if seek_s is None else (*_SEEK, f"{seek_s:.6f}")),
            ),
        )

    @property
    def _picture_bytes(self) -> int:
        return round(self._size[0] * self._size[1] * _BYTES_PER_PIXEL[self._pixels])

    def _spans(self, span_s: float) -> Spans | None:
        """Return the spans of the recording; None: only one decoder may decode it."""
        if len(self._facts.parts) > 1:
            return None
        facts = self._facts.parts[0]
        part = self._recording.part(facts.start, facts.end)
        spans = find_spans(part, facts, span_s=span_s, rate=self._rate)
        return spans if len(spans.spans) > 1 else None

    def _pictures_of(self, spans: Spans, decoders: Decoders) -> Iterator[Picture]:
        """Yield the pictures of a recording that several decoders may decode."""
        assert self._folder is not None
        facts = self._facts.parts[0]
        decoding = self._running.enter_context(
            SpanDecoding(
                spans,
                partial(self._decoder, facts),
                decoders,
                self._folder,
                picture_bytes=self._picture_bytes,
            )
        )

        dated = _Dated(facts.timeline)
        for event in decoding.events():
            if isinstance(event, Decoded):
                dated.add(event)
            else:
                yield dated.picture(event)

        self._running.close()
        self.decoders_used = max(1, decoding.most_running) + decoding.has_stored


class _Dated:
    """The time in the video, and the trust, of decoded pictures.

    Args:
        timeline: The clock of the recording.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._clock, self._judge = VideoClock(timeline), PictureJudge(timeline)
        self._decoded: deque[tuple[int, float, bool]] = deque()
        self.time_s = 0.0
        """Time of the last picture, seconds of the video."""

    def add(self, event: Decoded) -> None:
        """Take note of the next decoded picture."""
        self.time_s = self._clock.time_of(event.container_us / 1e6)
        is_trusted = self._judge.trusts(self.time_s, event.is_corrupt, event.follows_error)
        self._decoded.append((event.container_us, self.time_s, is_trusted))

    def picture(self, event: Chosen) -> Picture:
        """Return the next wanted picture, one of those decoded."""
        # Pictures leave the filters in the order in which they were decoded.
        while len(self._decoded) > 1 and self._decoded[0][0] != event.container_us:
            self._decoded.popleft()
        _, self.time_s, is_trusted = self._decoded[0]
        return Picture(time_s=self.time_s, data=event.data, is_trusted=is_trusted)


class _Decoder:
    """A running ffmpeg that decodes one recording of a file. Use it in a `with` block."""

    def __init__(
        self,
        part: Part,
        facts: PartFacts,
        picture_bytes: int,
        output: Callable[[int], list[str]],
        input_options: Sequence[str],
    ) -> None:
        self._bytes = picture_bytes
        self._part, self._facts = part, facts

        # ffmpeg writes the time of each wanted picture to a pipe.
        with starting("ffmpeg"):
            reading, writing = os.pipe()
        enlarge_pipe(reading)
        os.set_blocking(reading, False)
        self._times_descriptor = reading
        self._chosen_us: deque[int] = deque()
        self._rest, self._seen = b"", 0

        try:
            self._process = Ffmpeg(
                "ffmpeg",
                part,
                output(writing),
                input_options=(*_INPUT_OPTIONS, *input_options, *facts.input_options),
                descriptors=(writing,),
                counts_packets=True,
            )
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)

        self.complaints = 0
        """Number of complaints of the decoder, complete after the last picture."""
        self.damaged_s: list[float] = []
        """About when they came, seconds of the video, ascending."""
        self.complains_at_end = False
        """Whether it complained behind the last picture, known after the events."""

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)
        os.close(self._times_descriptor)

    def kill(self) -> None:
        """End it at once; another thread may read its events."""
        self._process.kill()

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures.

        Raises:
            FfmpegError: ffmpeg cannot decode the file.
            BadVideoError: The file cannot be read for now, or needs too much memory or time.
        """
        dated = _Dated(self._facts.timeline)
        for event in self.events():
            if isinstance(event, Chosen):
                yield dated.picture(event)
                continue
            dated.add(event)
            if event.follows_error:
                self.damaged_s.append(dated.time_s)
        self.complaints = self._process.log.errors
        if self.complains_at_end:
            self.damaged_s.append(dated.time_s)

        self._require_all_packets()

    def events(self) -> Iterator[Decoded | Chosen]:
        """Yield what happens, in order.

        Raises:
            FfmpegError: ffmpeg cannot decode the file.
            BadVideoError: The file cannot be read for now, or needs too much memory or time.
        """
        # ffmpeg tells the time of a picture before it writes its data.
        while (data := self._read_picture()) is not None:
            self._take_times()
            if not self._chosen_us:
                self._process.finish()
                raise FfmpegError("ffmpeg did not report the time of a picture")
            chosen_us = self._chosen_us.popleft()
            for decoded in self._decoded():
                yield decoded
                if decoded.container_us == chosen_us:
                    break
            else:
                self._process.finish()
                raise FfmpegError(f"the log does not show the picture at {chosen_us} us")
            yield Chosen(chosen_us, data)

        yield from self._decoded()
        self._process.finish()
        self.complains_at_end = self._process.log.complains_at_end

    def _require_all_packets(self) -> None:
        """Check that two passes over the file found the same: demuxers hide read errors.

        Raises:
            BadVideoError: They did not.
        """
        found = self._process.log.demuxed.get(self._facts.stream, self._facts.packets)
        if found == self._facts.packets:
            return

        # Behind damage ffmpeg may read on where ffprobe always stops.
        streams = {stream.index: stream for stream in demux(self._part).streams}
        again = streams[self._facts.stream].read if self._facts.stream in streams else (0, 0)
        passes = {self._facts.packets, again}
        if len(passes) > 1 or found < self._facts.packets:
            counts = [f"{count} packets of {size} bytes" for count, size in {*passes, found}]
            raise read_error(f"its video has {' or '.join(sorted(counts))}")

    def _decoded(self) -> Iterator[Decoded]:
        """Yield the next decoded pictures, as the log tells.

        Raises:
            BadVideoError: A picture has no time.
        """
        while entry := self._process.log.next_decoded():
            if entry.container_us is None:
                raise BadVideoError("undecodable", "the pictures of the file have no times")
            yield Decoded(entry.container_us, entry.is_corrupt, entry.follows_error)

    def _take_times(self) -> bool:
        """Take the times that the filters have printed. Return whether ffmpeg goes on."""
        with suppress(BlockingIOError):
            while chunk := os.read(self._times_descriptor, _TIMES_BYTES):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                self._chosen_us += [_microseconds(line) for line in lines if b"pts:" in line]

        before, self._seen = self._seen, self._process.log.num_decoded
        return self._seen > before

    def _read_picture(self) -> bytes | None:
        """Return the data of the next picture; None: there is none."""
        parts, missing = [], self._bytes
        while missing:
            part = self._process.read_some(
                self._process.stdout.fileno(), min(missing, 1 << 20), self._take_times
            )
            if not part:
                return None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


_INPUT_OPTIONS = (
    # Times of the container, unchanged: the video's clock is made from them.
    "-copyts",
    # If pictures change their size or format midway, the same filters continue.
    *("-reinit_filter", "0", "-noautorotate"),
    # The log has an entry for each decoded picture, with its time.
    "-debug_ts",
    *("-threads", "1", "-flags", "+bitexact"),
)


_KEYS_ONLY = ("-skip_frame", "nokey")
# The next argument is a time of the container. All pictures from the keyframe on are returned.
_SEEK = ("-noaccurate_seek", "-seek_timestamp", "1", "-ss")


def _output(
    facts: PartFacts,
    size: tuple[int, int],
    pixels: PixelFormat,
    chosen: Sequence[str],
    shown: Sequence[str],
    times_descriptor: int,
) -> list[str]:
    """Return the arguments that decode and filter the pictures."""
    filters = _filters(facts, size, pixels, chosen, shown, times_descriptor)
    return [
        *("-map", f"0:{facts.stream}", "-an", "-sn", "-dn"),
        *("-filter_threads", "1", "-max_error_rate", "1"),
        *("-vf", ",".join(filters), "-pix_fmt", pixels, "-fps_mode", "passthrough"),
        *("-c:v", "rawvideo", "-f", "rawvideo", "pipe:1"),
    ]


def _filters(
    facts: PartFacts,
    size: tuple[int, int],
    pixels: PixelFormat,
    chosen: Sequence[str],
    shown: Sequence[str],
    times_descriptor: int,
) -> Iterator[str]:
    yield from _deinterlacing(facts)

    yield from chosen
    yield "settb=1/1000000"
    # Pictures without metadata are not printed.
    yield "metadata=delete"
    yield f"metadata=add:key={_MARK}:value={_MARK}"
    yield f"metadata=print:key={_MARK}:file='pipe\\:{times_descriptor}':direct=1"

    yield "setpts=N"
    yield from facts.turn
    yield from shown
    out_range = "tv" if pixels == "yuv420p" else "pc"
    yield f"scale={size[0]}:{size[1]}:{_SCALER}:out_range={out_range}"
    yield f"format={pixels}"
    yield "setsar=1"


def _selection(timeline: Timeline, rate: float) -> str:
    """Return the filter that selects the first picture of each bin of `1 / rate` seconds.

    In a steady recording, a bin begins half a step before a multiple of `1 / rate`, so that its
    first picture is the nearest one.
    """
    lead_s = 0.0
    if timeline.is_steady:
        lead_s = timeline.pieces[0].offset_s + 0.5 / timeline.average_rate
    bins = [f"floor(({time}+({lead_s!r}))*{rate!r})" for time in ("t", "prev_selected_t")]
    return f"select='isnan(prev_selected_t)+not(eq({bins[0]},{bins[1]}))'"


def _deinterlacing(facts: PartFacts) -> Iterator[str]:
    """Yield the filters that make the pictures progressive."""
    stretches = facts.fields.stretches
    if not stretches:
        fields, deinterlacers = -1, ["yadif=deint=interlaced"]
    else:
        fields = int(any(stretch.scan != "progressive" for stretch in stretches))
        deinterlacers = []
        for scan in ("tff", "bff"):
            # The filter works on a picture when it has the next one. Where a scan changes, it also
            # works on the picture before and behind, which may be of either scan.
            ends = [*(stretch.first + 1 for stretch in stretches[1:]), math.inf]
            spans = [
                f"between(n,{first},{end})" if math.isfinite(end) else f"gte(n,{first})"
                for (first, of), end in zip(stretches, ends, strict=True)
                if of == scan
            ]
            if spans:
                deinterlacers.append(f"yadif=deint=all:parity={scan}:enable='{'+'.join(spans)}'")
    # Pictures whose size or format changes midway become like the first ones, field by field.
    yield f"scale={facts.coded_width}:{facts.coded_height}:interl={fields}:{_SCALER}"
    yield "settb=1/1000000"
    yield from deinterlacers


def _microseconds(line: bytes) -> int:
    """Return the time in ffmpeg's line about a picture."""
    try:
        return int(line.partition(b"pts:")[2].split()[0])
    except (IndexError, ValueError):
        raise BadVideoError("undecodable", "the pictures of the file have no times") from None
