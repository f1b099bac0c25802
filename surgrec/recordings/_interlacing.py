"""Interlacing: decided by content where the content is clear, and else by the file's flags.

The rule has one place, which is `find_fields`:

0. Pictures of fewer than 200 lines are as flagged: no camera interlaces so few, and detail that
   moves by whole lines looks like fields.
1. A few pictures at several places of the file are looked at. Where their content agrees with the
   flags that the decoder gives them, or is unclear, the flags hold for the whole file. If the first
   pictures at a place all are flagged as progressive, and clearly are, no others are needed.
2. If the content contradicts the flags, and is clear and the same at all places, it holds for the
   whole file. Fields in an unclear order contradict the flag of progressive pictures.
3. Else every picture is looked at, and each stretch has its own scan. An unclear stretch, in which
   nothing moves, has that of its neighbor.

A stretch between two places may be missed by the first step. Places begin with keyframes. They are
about 30 s apart, or as far as the keyframes; in a video of less than 150 s, a fifth of its length,
but 2 s at least. The last one is at the last keyframe.
"""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from surgrec.recordings._ffmpeg import Ffmpeg, FfmpegError
from surgrec.recordings._fields import (
    Gray,
    Scan,
    Stretch,
    common_scan,
    may_be_interlaced,
    scan_of,
    stretches,
)
from surgrec.recordings._packets import Packets
from surgrec.recordings._recording import BadVideoError, Part
from surgrec.recordings._timeline import Timeline

_COLUMNS = 80
"""Width to which pictures are reduced. Their lines stay."""
_PICTURES = 14
"""Consecutive pictures at a place."""
_FIRST_PICTURES = 8
"""Those that suffice if all are clearly progressive. Of pulled-down film, two would not be."""
_FEWEST_LINES = 200
"""Lines from which pictures may be interlaced against their flags."""
_PLACES, _CLOSE_S, _FAR_S, _MOST_PLACES = 5, 2.0, 30.0, 2_000
"""Up to 5 intervals of 2 s or more; long videos have a place every 30 s, for 16 hours."""
_LONGEST_SKIP = 100
"""Pictures that may be decoded to reach a place."""
_MOST_AT_ONCE, _LINES_AT_ONCE = 8, 8 * 1080
"""Places that one process decodes, and lines of their pictures: each needs a decoder."""
_MOST_STRETCHES = 200
_TOLD = 8
"""Stretches that the private report lists."""
_MARK = "surgrec"


@dataclass(frozen=True, kw_only=True)
class Fields:
    """How the pictures of a recording were scanned."""

    stretches: tuple[Stretch, ...] = ()
    """By the numbers of the decoded pictures. Empty: as the decoder flags each picture."""
    note: str = ""
    """A sentence for the private report if the file says otherwise."""


@dataclass(frozen=True, kw_only=True)
class Scanned:
    """A video stream whose interlacing is asked for."""

    part: Part
    stream: int
    """Its index in the file."""
    ordinal: int
    """Its number among the video streams."""
    height: int
    """Height of the decoded picture, pixels."""
    input_options: tuple[str, ...]
    """ffmpeg's options with which it reads the file to its end."""
    packets: Packets
    timeline: Timeline
    starts_anywhere: bool
    """Whether its container can be read from any byte, as MPEG streams can."""


@dataclass(frozen=True, kw_only=True)
class _Place:
    scan: Scan | None
    """The scan by content."""
    may_be_interlaced: bool
    flags: frozenset[Scan]
    """The scans by the flags of the decoder."""
    is_plain: bool
    """Whether all of enough pictures are progressive, by content and by flags."""

    @property
    def is_contradiction(self) -> bool:
        if self.scan is None:
            return self.may_be_interlaced and self.flags == {"progressive"}
        return self.flags != {self.scan}


def find_fields(video: Scanned) -> Fields:
    """Return how the pictures of a recording were scanned.

    Raises:
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    if video.height < _FEWEST_LINES:
        return Fields()

    # A time does not tell the place in a file whose clock jumps.
    by_bytes = video.starts_anywhere and bool((video.packets.positions >= 0).all())
    reaches_all = by_bytes or not video.timeline.joins
    seeks = list(_seeks(video, by_bytes=by_bytes)) if reaches_all else [_Seek()]
    places = list(_places(video, seeks))

    if reaches_all and not any(place.is_contradiction for place in places):
        return Fields()
    scan = places[0].scan
    if reaches_all and scan is not None and all(place.scan == scan for place in places):
        found: tuple[Stretch, ...] = (Stretch(0, scan),)
    else:
        scans = list(_all_scans(video))
        found = stretches(scans, most=_MOST_STRETCHES) if any(scans) else ()

    flags = frozenset[Scan]().union(*(place.flags for place in places))
    if not found or (len(found) == 1 and flags == {found[0].scan}):
        return Fields()
    return Fields(stretches=found, note=_note(found, flags, video.timeline))


@dataclass(frozen=True, kw_only=True)
class _Seek:
    """How to come to a place."""

    options: tuple[str, ...] = ()
    skip: int = 0
    """Number of pictures to skip."""


def _seeks(video: Scanned, *, by_bytes: bool) -> Iterator[_Seek]:
    """Yield the places to look at: keyframes spread evenly, with the first and the last."""
    packets, duration_s = video.packets, video.timeline.duration_s
    number = max(1, min(_PLACES, duration_s / _CLOSE_S), min(_MOST_PLACES, duration_s / _FAR_S))
    last = max(0, len(packets) - _PICTURES)
    wanted = np.linspace(0, last, int(number) + 1).astype(np.int64)
    # A recording that was joined to another one may differ from it.
    joins_s = [join.at_s for join in video.timeline.joins[:_MOST_PLACES]]
    wanted = np.append(wanted, np.searchsorted(video.timeline.pictures_s, joins_s) + _PICTURES)
    keys = np.unique([0, *np.flatnonzero(packets.are_keys)])
    times = np.where(np.isnan(packets.times_s), packets.order_s, packets.times_s)

    taken = set()
    for target in wanted.tolist():
        key = int(keys[np.searchsorted(keys, target, "right") - 1])
        skip = min(target - key, _LONGEST_SKIP) if (key, 0) in taken else 0
        if (key, skip) in taken:
            continue
        taken.add((key, skip))
        if key == 0:
            yield _Seek(skip=skip)
        elif by_bytes:
            at = int(packets.positions[key])
            yield _Seek(options=("-skip_initial_bytes", str(at)), skip=skip)
        elif times[key] > 0:
            at_s = f"{times[key]:.6f}"
            options = ("-seek_timestamp", "1", "-noaccurate_seek", "-ss", at_s)
            yield _Seek(options=options, skip=skip)


def _places(video: Scanned, seeks: Sequence[_Seek]) -> Iterator[_Place]:
    """Yield the content of each place. After a place that is not plain, look at all pictures."""
    number = _FIRST_PICTURES
    at_once = max(1, min(_MOST_AT_ONCE, _LINES_AT_ONCE // video.height))
    while seeks:
        done = 0
        for place in _look(video, seeks[:at_once], number):
            if number < _PICTURES and not place.is_plain:
                number = _PICTURES
                break
            yield place
            done += 1
        seeks = seeks[done:]


def _look(video: Scanned, seeks: Sequence[_Seek], number: int) -> list[_Place]:
    """Return the scan at each place, by that many pictures and by their flags."""
    if len(seeks) > 1 and video.part.feed() is None:
        # One process starts faster than several. If one place fails, it hides the others.
        with suppress(FfmpegError, BadVideoError):
            pictures, flags = _look_at(video, seeks, number)
            if len(pictures) == number * len(seeks) and sum(map(len, flags)) <= len(pictures):
                return [
                    _place(pictures[at * number : (at + 1) * number], flags[at])
                    for at in range(len(seeks))
                ]

    places = []
    for seek in seeks:
        try:
            pictures, flags = _look_at(video, [seek], number)
        except FfmpegError:
            pictures, flags = [], [[]]
        places.append(_place(pictures, *flags))
    return places


def _look_at(
    video: Scanned, seeks: Sequence[_Seek], number: int
) -> tuple[list[Gray], list[list[Scan]]]:
    """Return the pictures of all places, and the flags of the interlaced ones at each place.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    reading, writing = os.pipe()
    try:
        try:
            graph = "".join(
                _graph_of_place(video, at, seek, number, writing) for at, seek in enumerate(seeks)
            )
            ends = "".join(f"[p{at}]" for at in range(len(seeks)))
            pictures = list(
                _pictures(
                    video,
                    [(*seek.options, *video.input_options) for seek in seeks],
                    f"{graph}{ends}{f'concat=n={len(seeks)}' if len(seeks) > 1 else 'null'}",
                    most=number * len(seeks),
                    mark=writing,
                )
            )
        finally:
            os.close(writing)
        # The lines about so few pictures fit into the pipe.
        lines = os.read(reading, 1 << 16).split()
    finally:
        os.close(reading)

    scans: tuple[Scan, ...] = ("tff", "bff")
    return pictures, [
        [scan for scan in scans for _ in range(lines.count(f"{_MARK}={scan}{at}".encode()))]
        for at in range(len(seeks))
    ]


def _graph_of_place(video: Scanned, at: int, seek: _Seek, number: int, mark: int) -> str:
    """Return the filters that reduce the pictures of a place, and print the flags of each."""
    marks = "".join(
        f"[{name}{at}]select=eq(interlace_type\\,{kind}),"
        f"metadata=mode=add:key={_MARK}:value={name}{at},"
        f"metadata=mode=print:key={_MARK}:file='pipe\\:{mark}':direct=1,nullsink;"
        for name, kind in (("tff", "TOPFIRST"), ("bff", "BOTTOMFIRST"))
    )
    trimmed = f"trim=start_frame={seek.skip}:end_frame={seek.skip + number}"
    return (
        f"[{at}:{_stream(video, seek.options)}]{trimmed},split=3[all{at}][tff{at}][bff{at}];{marks}"
        f"[all{at}]{_reduced(video)},setsar=1,setpts=N[p{at}];"
    )


def _place(pictures: Sequence[Gray], interlaced: Sequence[Scan]) -> _Place:
    """Return the scan of the pictures of a place, of which some are flagged as interlaced."""
    scans = list(_scans(iter(pictures)))
    flags = frozenset(interlaced)
    if len(interlaced) < len(pictures):
        flags |= {"progressive"}
    are_plain = len(scans) >= _FIRST_PICTURES and set(scans[1:-1]) == {"progressive"}
    return _Place(
        scan=common_scan(scans),
        may_be_interlaced=may_be_interlaced(scans),
        flags=flags,
        is_plain=are_plain and flags == {"progressive"},
    )


def _all_scans(video: Scanned) -> Iterator[Scan | None]:
    """Yield how each picture of a recording was scanned."""
    try:
        yield from _scans(
            _pictures(video, [video.input_options], f"[0:{_stream(video)}]{_reduced(video)}")
        )
    except FfmpegError:
        return


def _scans(pictures: Iterator[Gray]) -> Iterator[Scan | None]:
    """Yield how each picture was scanned. The first and the last one have one neighbor only."""
    before: Gray | None = None
    picture: Gray | None = None
    for after in pictures:
        if picture is not None:
            yield None if before is None else scan_of(before, picture, after)
        before, picture = picture, after
    if picture is not None:
        yield None


def _stream(video: Scanned, seek_options: Sequence[str] = ()) -> str:
    """Return ffmpeg's name of the stream. Behind skipped bytes, streams have other numbers."""
    is_behind = "-skip_initial_bytes" in (*seek_options, *video.input_options)
    return f"v:{video.ordinal}" if is_behind else str(video.stream)


def _reduced(video: Scanned) -> str:
    """Return the filters that reduce pictures to a few gray columns."""
    return f"format=gray,scale={_COLUMNS}:{video.height}:flags=area:interl=1"


def _pictures(
    video: Scanned,
    inputs: Sequence[Sequence[str]],
    graph: str,
    *,
    most: int | None = None,
    mark: int | None = None,
) -> Iterator[Gray]:
    """Yield decoded pictures, reduced to a few gray columns.

    Args:
        video: The video.
        inputs: ffmpeg's options before each input; each is the same file.
        graph: The filters, without the name of their output.
        most: Number of pictures to decode; None: all.
        mark: A descriptor that the filters write to.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    output = ["-filter_complex", f"{graph}[out]", "-map", "[out]"]
    output += ["-fps_mode", "passthrough", *(["-frames:v", str(most)] if most else [])]
    common = ("-copyts", "-reinit_filter", "0", "-noautorotate", "-threads", "1")
    first, *others = [[*common, *options] for options in inputs]

    with Ffmpeg(
        "ffmpeg",
        video.part,
        [*output, "-f", "rawvideo", "pipe:1"],
        input_options=first,
        more_inputs=others,
        descriptors=() if mark is None else (mark,),
    ) as process:
        size, data = _COLUMNS * video.height, b""
        while chunk := process.read_some(process.stdout.fileno(), 1 << 18):
            data += chunk
            while len(data) >= size:
                yield np.frombuffer(data[:size], np.uint8).reshape(-1, _COLUMNS).astype(np.int16)
                data = data[size:]

        process.finish()


_WORDS: dict[Scan, str] = {
    "progressive": "progressive",
    "tff": "interlaced (top field first)",
    "bff": "interlaced (bottom field first)",
}


def _note(found: tuple[Stretch, ...], flags: frozenset[Scan], timeline: Timeline) -> str:
    """Return a sentence for the private report about interlacing that the file does not tell."""
    if len(found) > 1:
        times = timeline.pictures_s[[min(s.first, len(timeline.pictures_s) - 1) for s in found]]
        parts = (f"{_WORDS[s.scan]} from {at:.2f} s" for s, at in zip(found, times, strict=True))
        told, more = ", ".join(itertools.islice(parts, _TOLD)), len(found) - _TOLD
        return f"deinterlaced by content: {told}{f', and {more} more changes' if more > 0 else ''}"
    scan = found[0].scan
    if flags == {"progressive"}:
        return "deinterlaced by content: the file does not say that it is interlaced"
    says = " and ".join(_WORDS[flag] for flag in sorted(flags))
    verb = "not deinterlaced" if scan == "progressive" else "deinterlaced by content"
    return f"{verb}: the pictures are {_WORDS[scan]}, but the file says {says}"
