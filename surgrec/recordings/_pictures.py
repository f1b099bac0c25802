"""The pictures of a recording: decoded once, upright, deinterlaced, with square pixels."""

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from surgrec.recordings._demux import demux
from surgrec.recordings._facts import PartFacts
from surgrec.recordings._ffmpeg import Ffmpeg, read_error
from surgrec.recordings._inspect import RecordingFacts
from surgrec.recordings._recording import BadVideoError, Part, Recording
from surgrec.recordings._timeline import Timeline, VideoClock
from surgrec.recordings._trust import PictureJudge
from surgrec.recordings.process import starting
from surgrec.recordings.view import View

PixelFormat = Literal["yuv420p", "rgb24"]
_BYTES_PER_PIXEL = {"yuv420p": 1.5, "rgb24": 3.0}
_MARK = "surgrec"
"""Key of the metadata with which ffmpeg prints the time of a picture."""
_DECODED, _CHOSEN = b"0", b"1"
"""Its values: a decoded picture, and one of those whose pixels follow."""
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
    ) -> None:
        self._recording, self._facts = recording, facts
        self._size, self._pixels, self._rate = size, pixels, rate
        self._view, self._keys_only = view, keys_only
        self._running = ExitStack()
        self.complaints = 0
        """Number of complaints of the decoder, complete after the last picture."""
        self.damaged_s: list[float] = []
        """About when they came, seconds of the video, ascending."""

    def __enter__(self) -> "PictureReader":
        return self

    def __exit__(self, *error: object) -> None:
        self._running.close()

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures.

        Raises:
            FfmpegError: ffmpeg cannot decode the file.
            BadVideoError: The file cannot be read for now, or needs too much memory or time.
        """
        shown = list(self._view.filters(self._facts.width, self._facts.height))
        chosen = [] if self._rate is None else [_selection(self._facts.timeline, self._rate)]
        for facts, start_s in zip(self._facts.parts, self._facts.starts_s, strict=True):
            part = self._recording.part(facts.start, facts.end)
            filters = partial(_filters, facts, self._size, self._pixels, chosen, shown)
            decoder = _Decoder(part, facts, self._size, self._pixels, filters, self._keys_only)
            self._running.enter_context(decoder)
            for picture in decoder:
                yield replace(picture, time_s=picture.time_s + start_s) if start_s else picture
            self._running.close()
            self.complaints += decoder.complaints
            self.damaged_s += [start_s + time_s for time_s in decoder.damaged_s]


class _Decoder:
    """A running ffmpeg that decodes one recording of a file. Use it in a `with` block."""

    def __init__(
        self,
        part: Part,
        facts: PartFacts,
        size: tuple[int, int],
        pixels: PixelFormat,
        filters: Callable[[int], Iterator[str]],
        keys_only: bool,
    ) -> None:
        self._clock = VideoClock(facts.timeline)
        self._judge = PictureJudge(facts.timeline)
        self._bytes = round(size[0] * size[1] * _BYTES_PER_PIXEL[pixels])
        self._part, self._facts = part, facts

        # ffmpeg writes the time of each picture to a pipe.
        with starting("ffmpeg"):
            reading, writing = os.pipe()
        self._times_descriptor = reading

        try:
            self._process = Ffmpeg(
                "ffmpeg",
                part,
                _output(facts, pixels, filters(writing)),
                input_options=(
                    *_INPUT_OPTIONS,
                    *(_KEYS_ONLY if keys_only else ()),
                    *facts.input_options,
                ),
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

    def __enter__(self) -> "_Decoder":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)
        os.close(self._times_descriptor)

    def __iter__(self) -> Iterator[Picture]:
        """Yield the pictures.

        Raises:
            FfmpegError: ffmpeg cannot decode the file.
            BadVideoError: The file cannot be read for now, or needs too much memory or time.
        """
        errors, time_s = 0, 0.0
        judged: deque[tuple[int, float, bool]] = deque()
        for mark, container_us in self._marks():
            if mark == _DECODED:
                time_s = self._clock.time_of(container_us / 1e6)
                decoded = self._process.log.next_decoded()
                judged.append((container_us, time_s, self._judge.trusts(time_s, *decoded)))
                continue

            # Pictures leave the filters in the order in which they were decoded.
            while len(judged) > 1 and judged[0][0] != container_us:
                judged.popleft()
            data = self._read_exactly(self._bytes)
            if data is None:
                break
            _, time_s, is_trusted = judged[0]
            if self._process.log.errors > errors:
                errors = self._process.log.errors
                self.damaged_s.append(time_s)
            yield Picture(time_s=time_s, data=data, is_trusted=is_trusted)
        self._process.finish()
        self.complaints = self._process.log.errors
        if self.complaints > errors:
            self.damaged_s.append(time_s)

        self._require_all_packets()

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

    def _marks(self) -> Iterator[tuple[bytes, int]]:
        """Yield mark and container's time of each picture, microseconds.

        ffmpeg prints a line with the time, then one with the mark, before the data.
        """
        rest, container_us = b"", 0
        while chunk := self._process.read_some(self._times_descriptor, 4096):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if line.startswith(b"frame:"):
                    container_us = _microseconds(line)
                elif line.startswith(_MARK.encode()):
                    yield line.rpartition(b"=")[2], container_us

    def _read_exactly(self, size: int) -> bytes | None:
        parts, missing = [], size
        while missing:
            part = self._process.read_some(self._process.stdout.fileno(), min(missing, 1 << 20))
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
    # The log has an entry for each decoded picture.
    "-debug_ts",
    *("-threads", "1", "-flags", "+bitexact"),
)


_KEYS_ONLY = ("-skip_frame", "nokey")


def _output(facts: PartFacts, pixels: PixelFormat, filters: Iterable[str]) -> list[str]:
    """Return the arguments that decode and filter the pictures."""
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
    yield from _deinterlacing(facts, times_descriptor)

    yield from chosen
    yield from _printed(_CHOSEN, times_descriptor)

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


def _deinterlacing(facts: PartFacts, times_descriptor: int) -> Iterator[str]:
    """Yield the filters that make the pictures progressive, and print when each was decoded."""
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
    yield from _printed(_DECODED, times_descriptor)
    yield from deinterlacers


def _printed(mark: bytes, times_descriptor: int) -> Iterator[str]:
    """Yield the filters that print the time of each picture, with a mark."""
    yield "settb=1/1000000"
    yield "metadata=delete"
    yield f"metadata=add:key={_MARK}:value={mark.decode()}"
    yield f"metadata=print:key={_MARK}:file='pipe\\:{times_descriptor}':direct=1"


def _microseconds(line: bytes) -> int:
    """Return the time in ffmpeg's line about a picture."""
    try:
        return int(line.partition(b"pts:")[2].split()[0])
    except (IndexError, ValueError):
        raise BadVideoError("undecodable", "the pictures of the file have no times") from None
