"""The clock of a recording: from the times of its packets to the time of its video.

This is the only place that knows time. It has pure functions; nothing here reads a file.

Three clocks exist. The *container's clock* is that of the timestamps in the file. It may begin
anywhere, jump forward or back where recordings were joined, and be wrong for single packets. The
*video's clock* begins at 0 with the first picture of the video stream, whether or not that picture
can be decoded, and runs on over joins. A missing stretch keeps its length in it. All times that
leave this room are of the video's clock, in seconds.
"""

import bisect
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64, Int64

from surgrec.recordings._packets import (
    JUMP_BACK_S,
    LONGEST_PICTURE_S,
    MISSING_PICTURES,
    PAUSE_S,
    UNUSUAL,
    Packets,
    byte_rate,
    is_pause,
    lost_packets,
    lost_pictures,
    usual_interval,
    with_all_times,
)
from surgrec.recordings._rates import highest_rate

LONGEST_GAP_S = 12 * 3600.0
"""No recording pauses longer: such a jump of the timestamps is an error, not a gap."""
_LATE_S = 0.2
_TORN_S = 4e-3
_REORDERED = 16
"""Packets within which pictures may appear in another order."""
_MISSING_BYTES = 0.25
"""Share of a gap's bytes that must lie in the file for the gap to be damage and not a join."""
_BURST_PICTURES, _BURST = 4, 4.0
"""Intervals of a burst, and how many times faster than the rate they are."""
_HAIR_S, _ROUNDED_S = 0.1, 2e-3


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive pictures on one container clock. Video time is container time plus `offset_s`."""

    start_s: float
    end_s: float
    offset_s: float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A stretch of the video without pictures, seconds of the video."""

    start_s: float
    end_s: float


@dataclass(frozen=True, kw_only=True)
class Join:
    """A jump of the container's clock at which the video's clock runs on."""

    at_s: float
    """Seconds of the video."""
    before_s: float
    """The container's clock before the jump, seconds."""
    after_s: float
    """The container's clock after the jump, seconds."""


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """A stretch behind lost packets, up to the next keyframe, seconds of the video.

    A decoder continues there from pictures of another time.
    """

    start_s: float
    end_s: float
    """Infinite if no keyframe follows, or if the clock is lost."""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The clock of one video stream."""

    pictures_s: Float64[np.ndarray, " n"]
    """When each picture appears, ascending, without repeats; the first is 0."""
    keys_s: Float64[np.ndarray, " k"]
    """When the pictures appear with which a decoder can begin, ascending."""
    pieces: tuple[Piece, ...]
    gaps: tuple[Gap, ...]
    joins: tuple[Join, ...]
    doubts: tuple[Doubt, ...]
    rate: Fraction
    """The highest rate of pictures that holds for a second, 1/s; at most 1000.

    Frames at this rate show every picture, in order, less than a second late.
    """
    average_rate: float
    """Pictures per second, without the gaps."""
    is_bare: bool = False
    """Whether nothing tells how many pictures are lost in damage: the clock is lost behind it."""
    is_separate: bool = False
    """Whether the pictures are files of their own: each one that is lost is known."""

    @property
    def start_s(self) -> float:
        """Return the container's time of time zero, seconds."""
        return self.pieces[0].start_s

    @property
    def duration_s(self) -> float:
        """Return the end of the last picture, seconds of the video."""
        last = self.pieces[-1]
        return max(last.end_s + last.offset_s, float(self.pictures_s[-1]))

    @property
    def is_steady(self) -> bool:
        """Return whether the clock runs on and the steps between pictures are equal."""
        steps = np.diff(self.pictures_s)
        return len(self.pieces) == 1 and len(steps) > 0 and float(np.ptp(steps)) <= _ROUNDED_S

    @property
    def usual_s(self) -> float:
        """Return for how long a picture before missing ones is shown, seconds."""
        return min(1 / self.average_rate, PAUSE_S)

    @property
    def burst_rate(self) -> float | None:
        """Return the rate of pictures for a moment, 1/s, if it is far above the rate."""
        if len(self.pictures_s) <= _BURST_PICTURES:
            return None
        lengths = self.pictures_s[_BURST_PICTURES:] - self.pictures_s[:-_BURST_PICTURES]
        fastest = _BURST_PICTURES / max(float(lengths.min()), 1e-6)
        return fastest if fastest > _BURST * self.rate else None

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Return the stretches with pictures: start and end, seconds of the video."""
        starts = [0.0, *(gap.end_s for gap in self.gaps)]
        ends = [*(gap.start_s for gap in self.gaps), self.duration_s]
        return tuple(zip(starts, ends, strict=True))

    def count_between(self, start_s: float, end_s: float) -> int:
        """Return the number of pictures that should appear between two times, both excluded."""
        return _count_between(self.pictures_s, start_s, end_s)

    def count_keys_between(self, start_s: float, end_s: float) -> int:
        """Return the number of pictures between two times with which a decoder can begin."""
        return _count_between(self.keys_s, start_s, end_s)

    def next_key_s(self, time_s: float) -> float:
        """Return when a decoder that has lost its way shows true pictures again, seconds.

        Infinite if it never does.
        """
        index = int(np.searchsorted(self.keys_s, time_s - 1e-3))
        return float(self.keys_s[index]) if index < len(self.keys_s) else math.inf

    def is_gap(self, start_s: float, end_s: float) -> bool:
        """Return whether a gap lies between two times."""
        return any(gap.start_s < end_s and start_s < gap.end_s for gap in self.gaps)

    def is_missing(self, before_s: float, after_s: float, spacing_s: float = 0.0) -> bool:
        """Return whether pictures between two shown ones are missing or cannot be decoded.

        Args:
            before_s: When the first one appears, seconds.
            after_s: When the second one appears, seconds.
            spacing_s: Time between pictures that are asked for, seconds.
        """
        return after_s - before_s > max(PAUSE_S, 3 * spacing_s) and (
            self.is_gap(before_s, after_s)
            or self.count_between(before_s, after_s)
            >= (1 if self.is_separate else MISSING_PICTURES)
        )

    def is_start(self, time_s: float) -> bool:
        """Return whether a first picture at this time also shows the time before it."""
        return time_s <= max(_LATE_S, min(2.5 / self.average_rate, PAUSE_S))

    def is_doubtful(self, time_s: float) -> bool:
        """Return whether a picture at this time follows lost packets, before the next keyframe."""
        place = bisect.bisect_right(self.doubts, time_s, key=lambda doubt: doubt.start_s)
        return place > 0 and time_s < self.doubts[place - 1].end_s


def join_timelines(timelines: Sequence[Timeline]) -> tuple[Timeline, tuple[float, ...]]:
    """Return one clock for recordings that follow each other, and when each begins in it, seconds.

    Times run on, unless the container's clock of a recording continues that of the one before.
    """
    if len(timelines) == 1:
        return timelines[0], (0.0,)
    starts = [0.0]
    for before, after in itertools.pairwise(timelines):
        gap_s = after.start_s - before.pieces[-1].end_s
        kept_s = gap_s if 0 < gap_s <= LONGEST_GAP_S else 0.0
        starts.append(starts[-1] + before.duration_s + kept_s)
    shifted = [_shifted(each, start_s) for each, start_s in zip(timelines, starts, strict=True)]

    gaps = [shifted[0].gaps]
    joins = [shifted[0].joins]
    for before, after in itertools.pairwise(shifted):
        start_s, end_s = before.duration_s, float(after.pictures_s[0])
        gaps += [
            (Gap(start_s=start_s, end_s=end_s),) if end_s - start_s > PAUSE_S else (),
            after.gaps,
        ]
        join = Join(at_s=end_s, before_s=before.pieces[-1].end_s, after_s=after.start_s)
        joins += [(join,), after.joins]
    pictures = sum(len(each.pictures_s) for each in timelines)
    joined = Timeline(
        pictures_s=np.concatenate([each.pictures_s for each in shifted]),
        keys_s=np.concatenate([each.keys_s for each in shifted]),
        pieces=tuple(itertools.chain.from_iterable(each.pieces for each in shifted)),
        gaps=tuple(itertools.chain.from_iterable(gaps)),
        joins=tuple(itertools.chain.from_iterable(joins)),
        doubts=tuple(itertools.chain.from_iterable(each.doubts for each in shifted)),
        rate=max(each.rate for each in timelines),
        average_rate=pictures / sum(len(each.pictures_s) / each.average_rate for each in timelines),
        is_bare=any(each.is_bare for each in timelines),
        is_separate=any(each.is_separate for each in timelines),
    )
    return joined, tuple(starts)


def _shifted(timeline: Timeline, by_s: float) -> Timeline:
    """Return a clock that begins at a later time."""
    return replace(
        timeline,
        pictures_s=np.round(timeline.pictures_s + by_s, 6),
        keys_s=np.round(timeline.keys_s + by_s, 6),
        pieces=tuple(replace(each, offset_s=each.offset_s + by_s) for each in timeline.pieces),
        gaps=tuple(
            Gap(start_s=gap.start_s + by_s, end_s=gap.end_s + by_s) for gap in timeline.gaps
        ),
        joins=tuple(replace(each, at_s=each.at_s + by_s) for each in timeline.joins),
        doubts=tuple(
            Doubt(start_s=each.start_s + by_s, end_s=each.end_s + by_s) for each in timeline.doubts
        ),
    )


class VideoClock:
    """The video's clock for decoded pictures, which come in the order in which they are shown.

    Args:
        timeline: The timeline of the stream.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._pieces = timeline.pieces
        self._index = 0
        self._last_s = -np.inf

    def time_of(self, container_s: float) -> float:
        """Return the time in the video of the next decoded picture, seconds."""
        for index, hair_s in self._candidates():
            piece = self._pieces[index]
            time_s = container_s + piece.offset_s
            is_inside = piece.start_s - abs(hair_s) <= container_s <= piece.end_s + hair_s
            if is_inside and time_s > self._last_s - JUMP_BACK_S:
                self._index = index
                break
        else:
            # A decoder may invent times where the container has none.
            time_s = container_s + self._pieces[self._index].offset_s
        self._last_s = max(self._last_s, time_s)
        return max(time_s, 0.0)

    def _candidates(self) -> Iterator[tuple[int, float]]:
        """Yield pieces in which a picture may be, and how far outside of them, seconds."""
        # If one piece begins at the end of another, its first picture is in it.
        for index in range(self._index, min(self._index + 2, len(self._pieces))):
            yield index, -_ROUNDED_S
        for index in range(self._index, len(self._pieces)):
            yield index, _HAIR_S


@dataclass(kw_only=True)
class _Run:
    """Consecutive packets without a jump."""

    first: int
    start_s: float
    end_s: float
    offset_s: float = 0.0
    resumes: float | None = None
    """Of an excursion: the offset that holds after it."""
    is_contiguous: bool = field(default=False)

    @property
    def length_s(self) -> float:
        return self.end_s - self.start_s


def make_timeline(
    packets: Packets,
    *,
    average_rate: Fraction,
    nominal_rate: Fraction,
    joinable: bool = False,
    counts: bool = False,
    listed: int = 0,
    is_whole: bool = False,
    swollen: Sequence[int] | None = None,
) -> Timeline:
    """Return the clock of a video stream.

    Args:
        packets: At least one packet.
        average_rate: The container's average rate, pictures per second.
        nominal_rate: The rate that the container or the codec states.
        joinable: Whether the container's clock may jump by design, as that of MPEG streams does.
        counts: Whether the container has no timestamps: its clock counts pictures.
        listed: Number of pictures that the container lists; 0 if it lists none.
        is_whole: Whether the end of the file is there: listed pictures that are not found were lost
            within it.
        swollen: Of a raw stream: indices of packets that hold unreadable bytes behind their
            pictures. None for other formats.
    """
    packets = with_all_times(packets, average_rate)
    usual_s = usual_interval(packets.order_s, float(average_rate))

    # A piece has its own offset from the container's clock to the video's clock.
    period_s = 1 / float(average_rate)
    lost = lost_pictures(packets, usual_s, period_s, listed, is_whole) if counts else {}
    lost |= {index + 1: 0.0 for index in swollen or () if index + 1 < len(packets)}
    runs = _runs(packets, usual_s, lost)
    _set_offsets(runs, joinable=joinable)
    lost_s = None
    for run in runs:
        run.offset_s += period_s * sum(count for index, count in lost.items() if index <= run.first)
        if lost_s is None and lost.get(run.first, 1.0) == 0.0:
            lost_s = run.start_s + run.offset_s
    pieces = [Piece(start_s=run.start_s, end_s=run.end_s, offset_s=run.offset_s) for run in runs]
    joins = tuple(
        Join(at_s=after.start_s + after.offset_s, before_s=before.end_s, after_s=after.start_s)
        for before, after in itertools.pairwise(runs)
        if _is_join(before, after) and after.first not in lost
    )

    ends = [run.first for run in runs[1:]] + [len(packets)]
    times = np.concatenate(
        [
            packets.times_s[run.first : end] + run.offset_s
            for run, end in zip(runs, ends, strict=True)
        ]
    )
    times = np.round(np.maximum(times, 0.0), 6)
    pictures = np.unique(times)
    is_gap = _are_gaps(pictures, usual_s)

    holes = lost_packets(packets, usual_s, joinable=joinable)
    holes[list(lost)] = True
    torn_s = times[np.flatnonzero(holes[1:])]
    holes[
        [after.first for before, after in itertools.pairwise(runs) if _is_join(before, after)]
    ] = 1

    return Timeline(
        pictures_s=pictures,
        keys_s=np.unique(times[packets.are_keys]),
        doubts=tuple(_doubts(packets, times, holes, torn_s, lost_s)),
        pieces=tuple(pieces),
        gaps=tuple(_gaps(pictures, is_gap, usual_s)),
        joins=joins,
        rate=highest_rate(np.sort(times), average_rate, nominal_rate),
        average_rate=_average_rate(np.diff(pictures)[~is_gap], usual_s),
        is_bare=swollen is not None,
    )


def timeline_of_pictures(
    numbers: Int64[np.ndarray, " n"], are_used: Bool[np.ndarray, " n"], step: int, rate: float
) -> Timeline:
    """Return the clock of pictures that are files of their own.

    A gap is where a number is missing and more than a second passes between two pictures.

    Args:
        numbers: Numbers of the pictures, from 0, ascending.
        are_used: Which of them are decoded.
        step: Usual difference between them.
        rate: How many numbers pass per second.
    """
    times = np.round(numbers / rate, 6)
    usual_s = step / rate

    is_gap = (np.diff(numbers) > step) & (np.diff(times) > PAUSE_S)
    usual_rate = 1 / Fraction(usual_s).limit_denominator(10**6)
    end_s = float(times[-1]) + min(usual_s, PAUSE_S)

    return Timeline(
        pictures_s=times,
        keys_s=times[are_used],
        pieces=(Piece(start_s=0.0, end_s=end_s, offset_s=0.0),),
        gaps=tuple(
            Gap(start_s=float(times[index]) + min(usual_s, PAUSE_S), end_s=float(times[index + 1]))
            for index in np.flatnonzero(is_gap)
        ),
        joins=(),
        doubts=(),
        rate=highest_rate(times, usual_rate, usual_rate),
        average_rate=1 / usual_s,
        is_separate=True,
    )


def _count_between(times_s: Float64[np.ndarray, " n"], start_s: float, end_s: float) -> int:
    """Return how many times lie between two others, both excluded."""
    first = np.searchsorted(times_s, start_s + 1e-3, side="right")
    return max(0, int(np.searchsorted(times_s, end_s - 1e-3, side="left") - first))


def _runs(packets: Packets, usual_s: float, lost: Mapping[int, float]) -> list[_Run]:
    """Split packets where their clock jumps, and behind lost pictures."""
    order, times = packets.order_s, packets.times_s
    highest = np.maximum.accumulate(order)
    steps = np.diff(order)
    is_back = order[1:] < highest[:-1] - JUMP_BACK_S

    # Only the first packet of those that are behind the highest is a jump.
    is_jump = (is_back & (steps < -JUMP_BACK_S)) | is_pause(steps, usual_s)
    starts = sorted({0, *(np.flatnonzero(is_jump) + 1).tolist(), *lost})
    ends = [*starts[1:], len(order)]

    usual_bytes = byte_rate(packets, is_jump)
    runs = []
    for first, end in zip(starts, ends, strict=True):
        start_s, last_s = float(times[first:end].min()), float(times[first:end].max())
        run = _Run(first=first, start_s=start_s, end_s=last_s + min(usual_s, PAUSE_S))
        if first:
            gap_s = float(order[first] - order[first - 1])
            run.is_contiguous = bool(
                packets.skipped_bytes[first] < _MISSING_BYTES * usual_bytes * gap_s
            )
        runs.append(run)
    return runs


def _doubts(
    packets: Packets,
    times: Float64[np.ndarray, " n"],
    holes: Bool[np.ndarray, " n"],
    torn_s: Float64[np.ndarray, " t"],
    lost_s: float | None,
) -> Iterator[Doubt]:
    """Yield the stretches from each hole to the next keyframe, ascending and apart.

    The packet before a hole may be torn: its picture is doubtful, too.
    """
    keys = np.flatnonzero(packets.are_keys)
    found = [(time_s, time_s + _TORN_S) for time_s in torn_s.tolist()]
    if lost_s is not None:
        found.append((lost_s, math.inf))
    for hole in np.flatnonzero(holes).tolist():
        place = int(np.searchsorted(keys, hole))
        key = int(keys[place]) if place < len(keys) else len(times)
        end_s = float(times[key]) if key < len(times) else math.inf
        # Pictures behind the keyframe in the file may appear before it.
        found.append((float(times[hole : key + _REORDERED].min()), end_s))

    last_s = -math.inf
    for start_s, end_s in sorted(found):
        if max(start_s, last_s) < end_s:
            yield Doubt(start_s=max(start_s, last_s), end_s=end_s)
            last_s = end_s


def _is_join(before: _Run, after: _Run) -> bool:
    """Return whether the clock was set between two runs."""
    return abs(before.offset_s - after.offset_s) > _HAIR_S


def _set_offsets(runs: list[_Run], *, joinable: bool) -> None:
    """Set the offset of each run from the container's clock to the video's clock."""
    runs[0].offset_s = -runs[0].start_s
    for index in range(1, len(runs)):
        before, run = runs[index - 1], runs[index]
        end_s = before.end_s + before.offset_s
        kept = before.offset_s if before.resumes is None else before.resumes
        gap_s = run.start_s + kept - end_s

        if _is_excursion(runs, index, kept, end_s):
            # A few packets have wrong times: afterwards the clock is as before.
            run.offset_s, run.resumes = end_s - run.start_s, kept
        elif (
            gap_s < -JUMP_BACK_S
            or gap_s > LONGEST_GAP_S
            or (joinable and gap_s > LONGEST_PICTURE_S and run.is_contiguous)
        ):
            run.offset_s = end_s - run.start_s
        else:
            run.offset_s = kept


def _is_excursion(runs: list[_Run], index: int, kept: float, end_s: float) -> bool:
    """Return whether the clock leaves its course in this run and resumes it afterwards."""
    if index + 1 == len(runs):
        return False
    run, after = runs[index], runs[index + 1]
    away_s = abs(run.start_s + kept - end_s)
    return away_s > PAUSE_S and abs(after.start_s + kept - end_s - run.length_s) < PAUSE_S


def _are_gaps(pictures_s: Float64[np.ndarray, " n"], usual_s: float) -> Bool[np.ndarray, " m"]:
    """Return which intervals between pictures no single picture fills."""
    intervals = np.diff(pictures_s)
    before = np.concatenate([[usual_s], intervals[:-1]])
    after = np.concatenate([intervals[1:], [usual_s]])
    neighbors = np.maximum(before, after)
    is_gap: Bool[np.ndarray, " m"] = (intervals > LONGEST_PICTURE_S) | (
        (intervals > PAUSE_S) & (intervals > UNUSUAL * neighbors)
    )
    return is_gap


def _gaps(
    pictures_s: Float64[np.ndarray, " n"], is_gap: Bool[np.ndarray, " m"], usual_s: float
) -> Iterator[Gap]:
    before = np.concatenate([[usual_s], np.diff(pictures_s)[:-1]])
    for index in np.flatnonzero(is_gap):
        shown_s = min(float(before[index]), PAUSE_S)
        yield Gap(start_s=float(pictures_s[index]) + shown_s, end_s=float(pictures_s[index + 1]))


def _average_rate(intervals: Float64[np.ndarray, " m"], usual_s: float) -> float:
    return 1 / float(intervals.mean()) if len(intervals) else 1 / usual_s
