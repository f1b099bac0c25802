"""Properties of one recording. A few pictures are decoded to look for interlacing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from surgrec.recordings._demux import Demuxed, VideoStream, demux, positive_fraction
from surgrec.recordings._endings import has_index_at_end, is_unfinished, lacks_bytes, unread_notes
from surgrec.recordings._ffmpeg import FfmpegError
from surgrec.recordings._interlacing import Fields, Scanned, find_fields
from surgrec.recordings._packets import LONGEST_PICTURE_S, PAUSE_S, UNUSUAL, Packets
from surgrec.recordings._picture_numbers import broken_numbers
from surgrec.recordings._recording import BadVideoError, Part
from surgrec.recordings._references import refers_to_other_files
from surgrec.recordings._timeline import Timeline, make_timeline, timeline_of_pictures
from surgrec.recordings.picture_files import PictureSequence, usual_step

_JOINABLE = frozenset(("mpegts", "mpeg"))
"""Containers whose clock may jump by design."""
_COUNTING = frozenset(("avi", "mxf", "h264", "hevc", "dv", "gxf", "mpegvideo", "m4v"))
"""Containers without timestamps."""
_COLORS = (
    (
        "color_space",
        "colorspace",
        {"bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc", "bt2020c"},
    ),
    (
        "color_primaries",
        "color_primaries",
        {"bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "film", "bt2020"},
    ),
    (
        "color_transfer",
        "color_trc",
        {"bt709", "bt470m", "bt470bg", "smpte170m", "smpte240m", "linear", "iec61966-2-1"}
        | {"bt2020-10", "bt2020-12", "smpte2084", "arib-std-b67"},
    ),
)
"""ffprobe's key, the option of setparams, and values that can be stored."""
_TRANSPOSE = {(1, 1): "cclock_flip", (1, -1): "clock", (-1, 1): "cclock", (-1, -1): "clock_flip"}
"""ffmpeg's names of the exchange of rows and columns, by the signs of b and c of the matrix."""
_UPRIGHT: dict[int, tuple[str, ...]] = {
    **{1: (), 2: ("hflip",), 3: ("hflip", "vflip"), 4: ("vflip",)},
    **{5: ("transpose=cclock_flip",), 6: ("transpose=clock",)},
    **{7: ("transpose=clock_flip",), 8: ("transpose=cclock",)},
}
"""ffmpeg's filters that turn a picture upright, by its orientation of EXIF."""
_RAW = frozenset(("h264", "hevc", "mpegvideo", "m4v", "mjpeg", "obu"))
"""Formats without a container: nothing tells the time of pictures behind damage."""
_NUMBERED = frozenset(("h264", "hevc"))
"""Raw formats whose pictures have numbers."""
_MOST_PLACES = 10
"""Places that a note lists."""
_SWALLOWING = _RAW | {"nut"}
"""Formats in which a packet ends where the next one begins, behind any unreadable bytes."""
_ZEROS = bytes(1024)
"""Unreadable bytes that no picture contains."""
_LARGEST_OTHER = 1.5
"""Size of a picture that refers to others, as a multiple of the usual size of those that do not."""
_SMALLEST_PX, _LARGEST_PX = 16, 32768
_MOVING_RATE = 0.9
"""Pictures per second from which a stream moves: those of slides come more slowly."""
_MOST = 0.5
"""Share of the longest moving stream's duration from which a stream is preferred."""
_TOLD_S = 0.5
_UNFINISHED = "the recorder did not finish the file: the end of the video may be missing"
_SHORTFALL_S, _SHORTFALL_SHARE = 2.0, 0.02
"""Accepted difference from a stated duration, which is rounded by a frame or two."""


@dataclass(frozen=True, kw_only=True)
class PartFacts:
    """Properties of one recording as displayed: upright, with square pixels."""

    start: int
    end: int | None
    """Its first byte in the file, and the byte behind its last one; None: the end of the file."""
    stream: int
    """Index of the video stream in the file."""
    width: int
    height: int
    """Size of the picture as displayed, pixels."""
    coded_width: int
    coded_height: int
    """Size of the decoded picture, pixels."""
    turn: tuple[str, ...]
    """ffmpeg's filters that turn the picture upright."""
    colors: tuple[str, ...]
    """The file's description of its colors, as options of ffmpeg's filter `setparams`."""
    fields: Fields
    """Interlacing by content, where the file does not tell it or contradicts it."""
    timeline: Timeline
    packets: tuple[int, int]
    """Number of the stream's packets, and of their bytes."""
    is_cut: bool
    """Whether data is missing at its end."""
    stated_s: float | None
    """Duration that the container states, seconds."""
    input_options: tuple[str, ...]
    """ffmpeg's options with which it reads the file to its end."""
    choice: str
    """Which one of several video streams is taken; empty if the file has one."""
    notes: tuple[str, ...]
    """Sentences for the private report."""
    unread: tuple[str, ...]
    """Sentences about an end of the video that is missing or cannot be read."""


def inspect_part(part: Part) -> PartFacts:
    """Return the properties of the video of one recording. Reads all of it once.

    Of several video streams, those with about a picture per second or more that last for most of
    the longest one are preferred; of them, the one with the most pixels is taken, of equal ones the
    first. Cover pictures and thumbnails are never taken; slides only if nothing else is there.

    Raises:
        BadVideoError: The file is not a video, has no video stream, or cannot be read for now.
    """
    if isinstance(part, PictureSequence):
        return _facts_of_pictures(part)
    is_external = refers_to_other_files(part.read, part.size)
    if is_external:
        raise BadVideoError(
            "external_data",
            "its pictures are in another file, to which it refers; export a self-contained movie",
        )
    try:
        demuxed = demux(part)
    except FfmpegError as error:
        raise _unreadable(part, str(error)) from None
    container = demuxed.container.get("format_name", "")
    if is_external is None and "mov" in container.split(","):
        raise BadVideoError(
            "external_data",
            "its index is not found within the first boxes, so its pictures may be in another "
            "file; export a self-contained movie",
        )
    streams = [stream for stream in demuxed.streams if _is_video(stream)]
    if not streams:
        raise BadVideoError("no_video", "the file has no video stream")
    chosen = _choose(streams)
    entries = chosen.entries

    has_index = has_index_at_end(part)
    timeline = make_timeline(
        chosen.packets,
        average_rate=_rate(entries, "avg_frame_rate", "r_frame_rate"),
        nominal_rate=_rate(entries, "r_frame_rate", "avg_frame_rate"),
        joinable=container in _JOINABLE,
        counts=container in _COUNTING,
        listed=_listed(entries, container) - chosen.hidden,
        is_whole=has_index,
        swollen=_zeroed(part, chosen) if container in _RAW else None,
    )

    matrix = _matrix(entries)
    coded_width, coded_height = _coded_size(entries)
    width, height = _display_size(entries, coded_width, coded_height, is_turned=matrix[0] == 0)
    _require_size(width, height, coded_width, coded_height)

    # ffprobe takes a read error for the end of the file.
    part.require_readable(chosen.end)
    fields = find_fields(
        Scanned(
            part=part,
            stream=chosen.index,
            ordinal=next(n for n, stream in enumerate(demuxed.streams) if stream is chosen),
            height=coded_height,
            input_options=demuxed.input_options,
            packets=chosen.packets,
            timeline=timeline,
            starts_anywhere=container in _JOINABLE,
        )
    )
    is_left = not has_index and is_unfinished(part)
    stated_s = _number(entries.get("duration")) or _number(demuxed.container.get("duration"))
    stated_s = None if is_left else stated_s  # a guess of ffmpeg
    is_cut = not is_left and _is_cut(
        chosen,
        stated_s,
        demuxed,
        timeline,
        lacks_bytes=not has_index and lacks_bytes(part),
    )
    choice = _choice(streams, chosen)
    unread = (
        *([_UNFINISHED] if is_left else ()),
        *_ending_notes(demuxed, stated_s, timeline, is_cut=is_cut),
        *unread_notes(part, chosen.end, container),
        *([part.order.note] if part.order.is_lossy else ()),
    )
    return PartFacts(
        start=part.start,
        end=part.end,
        stream=chosen.index,
        width=width,
        height=height,
        coded_width=coded_width,
        coded_height=coded_height,
        turn=_turn(matrix),
        colors=tuple(
            f"{option}={entries[key]}"
            for key, option, known in _COLORS
            if entries.get(key) in known
        ),
        fields=fields,
        timeline=timeline,
        packets=chosen.read,
        is_cut=is_cut,
        stated_s=stated_s,
        input_options=demuxed.input_options,
        choice=choice,
        notes=(
            *_notes(choice, timeline, fields),
            *_damage_notes(part, chosen, timeline, container),
            *([part.order.note] if part.order.spans else ()),
            *unread,
        ),
        unread=unread,
    )


def _facts_of_pictures(recording: PictureSequence) -> PartFacts:
    """Return the properties of a video that is given as pictures."""
    contents = recording.contents
    still = contents.still
    is_turned = still.orientation >= 5  # rows and columns change places
    width, height = (still.height, still.width) if is_turned else (still.width, still.height)
    _require_size(still.width, still.height)
    step = usual_step(contents.numbers)
    return PartFacts(
        start=0,
        end=None,
        stream=0,
        width=width,
        height=height,
        coded_width=still.width,
        coded_height=still.height,
        turn=_UPRIGHT[still.orientation],
        # JFIF, part 1: the matrix of BT.601.
        colors=("colorspace=bt470bg",) if still.format == "jpeg" else (),
        fields=Fields(),
        timeline=timeline_of_pictures(contents.numbers, contents.are_used, step, recording.rate),
        packets=contents.packets,
        is_cut=False,
        stated_s=None,
        input_options=("-c:v", "bmp") if still.format == "bmp" else (),
        choice="",
        notes=contents.notes,
        unread=(),
    )


def _require_size(*sides: int) -> None:
    """Refuse a picture that is too small or too large."""
    if min(sides) < _SMALLEST_PX or max(sides) > _LARGEST_PX:
        raise BadVideoError("no_video", f"the picture has {sides[0]} x {sides[1]} pixels")


def _is_video(stream: VideoStream) -> bool:
    """Return whether a stream has pictures that are not a cover or thumbnails."""
    covers = ("attached_pic", "timed_thumbnails", "still_image")
    return (
        len(stream.packets) > 0
        and _pixels(stream) > 0
        and not any(stream.entries.get(name) == "1" for name in covers)
    )


def _choose(streams: Sequence[VideoStream]) -> VideoStream:
    """Return the video of a recording: the others show slides, a part of it, or fewer pixels."""
    longest_s = max(map(_moving_s, streams))

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        is_whole = _moving_s(stream) >= _MOST * longest_s
        return is_whole, len(stream.packets) > 1, _pixels(stream)

    return max(streams, key=rank)  # the first of equals


def _moving_s(stream: VideoStream) -> float:
    """Return for how long a stream lasts, seconds; 0 if its pictures are slides."""
    times = np.where(
        np.isnan(stream.packets.order_s), stream.packets.times_s, stream.packets.order_s
    )
    steps = np.diff(times[~np.isnan(times)])
    if not len(steps):
        return (len(stream.packets) - 1) / float(_rate(stream.entries, "avg_frame_rate"))
    lasts_s = float(np.clip(steps, 0.0, LONGEST_PICTURE_S).sum())
    return lasts_s if len(stream.packets) - 1 >= _MOVING_RATE * lasts_s else 0.0


def _choice(streams: Sequence[VideoStream], chosen: VideoStream) -> str:
    """Return which one of several streams is taken; empty if there is one."""
    if len(streams) == 1:
        return ""
    sizes = ", ".join("{} x {}".format(*_coded_size(stream.entries)) for stream in streams)
    number = next(index for index, stream in enumerate(streams, 1) if stream is chosen)
    return f"{len(streams)} video streams ({sizes}): number {number} is taken"


def _pixels(stream: VideoStream) -> int:
    width, height = _coded_size(stream.entries)
    return max(width, 0) * max(height, 0)


def _listed(entries: Mapping[str, str], container: str = "") -> int:
    """Return the number of pictures that the container lists for a stream; 0 if it lists none."""
    if count := _number(entries.get("nb_frames")):
        return int(count)
    if container == "mxf":
        return round((_number(entries.get("duration")) or 0) * _rate(entries, "avg_frame_rate"))
    return 0


def _rate(entries: Mapping[str, str], *names: str) -> Fraction:
    """Return the first stated rate, pictures per second."""
    rates = (positive_fraction(entries.get(name)) for name in names)
    return next((rate for rate in rates if rate), Fraction(25))


def _is_cut(
    stream: VideoStream,
    stated_s: float | None,
    demuxed: Demuxed,
    timeline: Timeline,
    *,
    lacks_bytes: bool,
) -> bool:
    """Return whether data is missing at the end of the file.

    A stated duration alone proves nothing: tags are copied, and may be those of the sound.
    """
    is_short = stated_s is not None and stated_s - timeline.duration_s > shortfall_s(stated_s)
    listed = _listed(stream.entries, demuxed.container.get("format_name", ""))
    found = stream.hidden + round(timeline.duration_s * timeline.average_rate)
    lacks_pictures = listed - max(found, len(stream.packets) + stream.hidden) > max(
        2, _SHORTFALL_SHARE * listed
    )
    return (is_short and (demuxed.ends_early or lacks_pictures)) or (
        lacks_bytes and (is_short or lacks_pictures or stated_s is None)
    )


def shortfall_s(expected_s: float) -> float:
    """Return the accepted difference from an expected duration, seconds."""
    return max(_SHORTFALL_S, _SHORTFALL_SHARE * expected_s)


def _notes(choice: str, timeline: Timeline, fields: Fields) -> Iterator[str]:
    """Yield the notes of the private report about the recording."""
    if choice:
        yield choice

    for join in timeline.joins:
        yield (
            f"the clock of the file jumps at {join.at_s:.2f} s "
            f"(from {join.before_s:.2f} s to {join.after_s:.2f} s): times run on"
        )

    if timeline.burst_rate is not None:
        yield (
            f"for a moment, the clock of the file shows {timeline.burst_rate:.0f} pictures per "
            f"second: the rate is {float(timeline.rate):g}, at which every picture is kept"
        )

    if fields.note:
        yield fields.note


def _damage_notes(
    part: Part, stream: VideoStream, timeline: Timeline, container: str
) -> Iterator[str]:
    """Yield sentences about damaged data, by the sizes and numbers of pictures."""
    packets, pictures = stream.packets, timeline.pictures_s

    def second(index: int) -> str:
        return f"{pictures[min(index, len(pictures) - 1)]:.1f} s"

    if container == "dv" and (packets.sizes != packets.sizes[0]).any():
        first = int(np.argmax(packets.sizes != packets.sizes[0]))
        yield f"the data near {second(first)} is not of the format before: it may be damaged"
    if container in _NUMBERED:
        breaks = broken_numbers(part.read, part.size, container)
        places = list(
            dict.fromkeys(round(float(pictures[min(n, len(pictures) - 1)])) for n in breaks)
        )
        if places:
            more = f" and {len(places) - _MOST_PLACES} more" if len(places) > _MOST_PLACES else ""
            listed = ", ".join(map(str, places[:_MOST_PLACES]))
            yield (
                f"the pictures near {listed} s{more} do not have the next numbers: data may have "
                "been removed there"
            )
    if container not in _SWALLOWING:
        return

    byte_rate = float(packets.sizes.sum()) / timeline.duration_s
    for index in _swollen(packets, byte_rate):
        size = int(packets.sizes[index])
        yield (
            f"{size / 1e3:.0f} kB near {second(index)} are unreadable, "
            f"about {size / byte_rate:.1f} s of video"
        )


def _zeroed(part: Part, stream: VideoStream) -> list[int]:
    """Return the packets of a raw stream that hold zeros behind their pictures."""
    packets = stream.packets
    rate = float(_rate(stream.entries, "avg_frame_rate", "r_frame_rate"))
    byte_rate = float(packets.sizes.sum()) / len(packets) * rate
    return [
        index
        for index in _swollen(packets, byte_rate)
        if _ZEROS in part.read(int(packets.sizes[index]), max(0, int(packets.positions[index])))
    ]


def _swollen(packets: Packets, byte_rate: float) -> list[int]:
    """Return the packets that are too large for a picture, and hold a second of video."""
    if not packets.are_keys.any():
        return []
    usual = float(np.median(packets.sizes[packets.are_keys]))
    largest = usual * np.where(packets.are_keys, UNUSUAL, _LARGEST_OTHER)
    found: list[int] = np.flatnonzero(
        packets.sizes > np.maximum(largest, PAUSE_S * byte_rate)
    ).tolist()
    return found


def _ending_notes(
    demuxed: Demuxed, stated_s: float | None, timeline: Timeline, *, is_cut: bool
) -> Iterator[str]:
    """Yield a sentence if the end of the recording is missing.

    A stated duration alone proves nothing: it may be that of the sound, or end behind a join.
    """
    missing_s = (stated_s or 0.0) - timeline.duration_s
    # MXF states a number of pictures.
    is_proof = demuxed.ends_early or demuxed.container.get("format_name") == "mxf"
    if is_cut or (is_proof and missing_s > _TOLD_S):
        length = f", about {missing_s:.1f} s" if missing_s > _TOLD_S and not timeline.joins else ""
        yield f"data is missing at the end of the file{length}; copy it again"


def _unreadable(part: Part, complaint: str) -> BadVideoError:
    """Return the error for a file that ffprobe cannot read.

    ffprobe has the same complaint about a truncated mp4 and about a text file: no moov atom.
    The truncated mp4 still begins like an mp4.
    """
    begins_like_mp4 = part.read(8, 0)[4:] == b"ftyp"
    if begins_like_mp4 and "moov atom not found" in complaint:
        return BadVideoError(
            "truncated",
            "bytes of the mp4 are missing, often its end: its index (moov) is not found; copy the "
            "file again",
        )
    return BadVideoError("unreadable", f"ffmpeg cannot read the file as a video ({complaint})")


def _coded_size(entries: Mapping[str, str]) -> tuple[int, int]:
    """Return width and height of a decoded picture. New ffmpegs crop as the container says."""
    sides = [int(_number(entries.get(name)) or 0) for name in ("width", "height")]
    left, right, top, bottom = (
        int(_number(entries.get(f"crop_{side}")) or 0)
        for side in ("left", "right", "top", "bottom")
    )
    return sides[0] - left - right, sides[1] - top - bottom


def _display_size(
    entries: Mapping[str, str], width: int, height: int, *, is_turned: bool
) -> tuple[int, int]:
    """Return width and height after rotation, with square pixels."""
    aspect = positive_fraction(entries.get("sample_aspect_ratio", "").replace(":", "/"))
    if aspect:
        width = round(width * aspect)
    return (height, width) if is_turned else (width, height)


def _matrix(entries: Mapping[str, str]) -> tuple[int, int, int, int]:
    """Return the signs of the 2 x 2 part of the container's display matrix: a, b, c, d."""
    numbers = [
        [int(word) for word in row.partition(":")[2].split()]
        for row in entries.get("displaymatrix", "").splitlines()
        if ":" in row
    ]
    if [len(row) for row in numbers] != [3, 3, 3]:
        return 1, 0, 0, 1
    (a, b, _), (c, d, _), _ = numbers

    # Only quarter turns and mirrors: the larger entry of the first row decides.
    if abs(b) > abs(a):
        return 0, _sign(b), _sign(c), 0
    return _sign(a), 0, 0, _sign(d)


def _turn(matrix: tuple[int, int, int, int]) -> tuple[str, ...]:
    """Return the filters that show a picture as its display matrix says."""
    a, b, c, d = matrix
    if a == 0:
        return (f"transpose={_TRANSPOSE[b, c]}",)
    return (*(["hflip"] if a < 0 else []), *(["vflip"] if d < 0 else []))


def _sign(value: int) -> int:
    return -1 if value < 0 else 1


def _number(text: object) -> float | None:
    """Return a positive finite number, or None for any other text."""
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if 0 < value < 1e12 else None
