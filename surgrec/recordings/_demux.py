"""The video streams of a recording and their packets, read once. Nothing is decoded."""

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

from surgrec.recordings._ffmpeg import Ffmpeg
from surgrec.recordings._packets import Packets
from surgrec.recordings._recording import BadVideoError, Part

MOST_PACKETS = 30_000_000
"""Packets of a video of 60 frames per second that lasts five days."""
_ARGUMENTS = (
    *("-select_streams", "v", "-of", "compact", "-show_entries"),
    "packet=stream_index,pts,dts,pos,size,flags"
    ":stream=index,codec_type,width,height,avg_frame_rate,r_frame_rate,time_base,nb_frames,duration"
    ",sample_aspect_ratio,color_space,color_primaries,color_transfer"
    ":stream_disposition=attached_pic,timed_thumbnails,still_image"
    ":stream_side_data:format=format_name,duration",
)
_UNKNOWN = -(1 << 63)


@dataclass(frozen=True, kw_only=True)
class VideoStream:
    """One video stream of a recording."""

    index: int
    """Its number among the streams of the file."""
    entries: dict[str, str]
    """Its properties from ffprobe."""
    packets: Packets
    """Those whose pictures are shown."""
    hidden: int
    """Number of packets that an edit list hides."""
    read: tuple[int, int]
    """Number of all packets, and of their bytes."""

    @property
    def end(self) -> int:
        """Return the last byte of the file that belongs to a packet; 0 if unknown."""
        known = self.packets.positions >= 0
        ends = (self.packets.positions + self.packets.sizes)[known]
        return int(ends.max()) if len(ends) else 0


@dataclass(frozen=True, kw_only=True)
class Demuxed:
    """A recording's video streams."""

    streams: list[VideoStream]
    container: dict[str, str]
    """Properties of the file from ffprobe."""
    ends_early: bool
    """Whether the demuxer found that the end of the file is missing."""
    input_options: tuple[str, ...]
    """Options with which ffmpeg reads the file to its end."""


class _Columns:
    """Growing columns of one stream's packets."""

    def __init__(self) -> None:
        self.pts, self.dts = array("q"), array("q")
        self.positions, self.sizes = array("q"), array("q")
        self.keys = array("b")
        self.hidden = self.bytes = 0

    def add(self, fields: list[str]) -> None:
        """Take the fields of a packet."""
        size = _integer(fields[4])
        self.bytes += size
        if "D" in fields[6]:
            self.hidden += 1
            return
        self.pts.append(_integer(fields[2]))
        self.dts.append(_integer(fields[3]))
        self.sizes.append(size)
        self.positions.append(max(_integer(fields[5]), -1))
        self.keys.append("K" in fields[6])

    def packets(self, time_base: Fraction) -> Packets:
        """Return the columns as arrays, with times in seconds."""
        return Packets(
            times_s=_seconds(self.pts, time_base),
            order_s=_seconds(self.dts, time_base),
            positions=_integers(self.positions),
            sizes=_integers(self.sizes),
            are_keys=np.array(self.keys, dtype=np.bool_),
        )


def demux(part: Part) -> Demuxed:
    """Return the video streams of a recording, with their packets in the order of the file.

    Raises:
        FfmpegError: The file cannot be demuxed.
        BadVideoError: It lists an absurd number of packets, or cannot be read for now.
    """
    demuxed, loses_sync = _demux(part, ())
    if loses_sync and demuxed.container.get("format_name") == "mpegts":
        # Over any number of unreadable bytes: the default gives up after 64 KiB.
        demuxed, _ = _demux(part, ("-f", "mpegts", "-resync_size", str(2**31 - 1)))
    return demuxed


def _demux(part: Part, input_options: Sequence[str]) -> tuple[Demuxed, bool]:
    """Return the video streams, and whether the demuxer lost the way in unreadable bytes."""
    columns: dict[str, _Columns] = defaultdict(_Columns)
    entries, container = [], {}
    total = 0
    with Ffmpeg("ffprobe", part, _ARGUMENTS, input_options=input_options) as process:
        for line in _lines(process.chunks()):
            fields = line.split("|")
            if fields[0] == "packet" and len(fields) >= 7:
                columns[fields[1].partition("=")[2]].add(fields)
                total += 1
                if total > MOST_PACKETS:
                    raise BadVideoError(
                        "absurd", f"the file lists more than {MOST_PACKETS} pictures"
                    )
            elif fields[0] == "stream":
                entries.append(_named(fields))
            elif fields[0] == "format":
                container = _named(fields)
        process.finish()

    streams = []
    for stream in entries:
        found = columns[stream.get("index", "")]
        time_base = positive_fraction(stream.get("time_base")) or Fraction(1, 1000)
        packets = found.packets(time_base)
        streams.append(
            VideoStream(
                index=int(stream["index"]),
                entries=stream,
                packets=packets,
                hidden=found.hidden,
                read=(len(packets) + found.hidden, found.bytes),
            )
        )
    demuxed = Demuxed(
        streams=streams,
        container=container,
        ends_early=process.log.ends_early,
        input_options=tuple(input_options),
    )
    return demuxed, process.log.loses_sync


def positive_fraction(text: object) -> Fraction | None:
    """Return a positive fraction, or None for any other text."""
    try:
        value = Fraction(str(text or ""))
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("ascii", errors="replace")
    yield rest.decode("ascii", errors="replace")


def _named(fields: list[str]) -> dict[str, str]:
    """Return the fields of a section by name, without the names of inner sections."""
    pairs = (field.partition("=") for field in fields)
    return {
        name.rpartition(":")[2]: value.replace("\\n", "\n")
        for name, equals, value in pairs
        if equals
    }


def _integer(field: str) -> int:
    try:
        value = int(field.partition("=")[2])
    except ValueError:
        return _UNKNOWN
    return value if abs(value) < 1 << 62 else _UNKNOWN


def _integers(values: "array[int]") -> Int64[np.ndarray, " n"]:
    return np.frombuffer(values, dtype=np.int64) if values else np.zeros(0, dtype=np.int64)


def _seconds(values: "array[int]", time_base: Fraction) -> Float64[np.ndarray, " n"]:
    integers = _integers(values)
    seconds = integers * (time_base.numerator / time_base.denominator)
    return np.where(integers == _UNKNOWN, np.nan, seconds)
