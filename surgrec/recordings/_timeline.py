"""The clock of a recording: from the times of its packets to the time of its video.

This is the only place that knows time. It has pure functions; nothing here reads a file.

Three clocks exist. The *container's clock* is that of the timestamps in the file. It may begin
anywhere, jump forward or back where recordings were joined, and be wrong for single packets. The
*video's clock* begins at 0 with the first picture of the video stream, whether or not that picture
can be decoded, and runs on over joins. A missing stretch keeps its length in it. All times that
leave this room are of the video's clock, in seconds.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float64, Int64

JUMP_BACK_S = 0.5
"""A step back that is larger is a join. Recorders write smaller ones by mistake."""
PAUSE_S = 1.0
"""A shorter interval between pictures is never a gap."""
UNUSUAL = 4.0
"""An interval is a gap only if it is this many times longer than its neighbors."""
LONGEST_PICTURE_S = 10.0
"""A longer interval between pictures is always a gap, and may be a join."""
LONGEST_GAP_S = 12 * 3600.0
"""No recording pauses longer: such a jump of the timestamps is an error, not a gap."""
_MISSING_BYTES = 0.25
"""Share of a gap's bytes that must lie in the file for the gap to be damage and not a join."""
_RATE_WINDOW = 16
"""Intervals over which a rate must hold."""
_SAME_RATE = 0.08
_HAIR_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Packets:
    """The packets of the pictures that a player shows, in the order of the file."""

    times_s: Float64[np.ndarray, " n"]
    """When the picture appears; NaN if the container does not say it."""
    order_s: Float64[np.ndarray, " n"]
    """When the picture is decoded, which ascends in a sound file; NaN if unknown."""
    positions: Int64[np.ndarray, " n"]
    """First byte in the file; -1 if unknown."""
    sizes: Int64[np.ndarray, " n"]
    """Bytes."""
    are_keys: Bool[np.ndarray, " n"]
    """Whether a decoder can begin with the picture."""

    def __len__(self) -> int:
        return len(self.times_s)


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
class Timeline:
    """The clock of one video stream."""

    pictures_s: Float64[np.ndarray, " n"]
    """When each picture appears, ascending, without repeats; the first is 0."""
    keys_s: Float64[np.ndarray, " k"]
    """When the pictures appear with which a decoder can begin, ascending."""
    pieces: tuple[Piece, ...]
    gaps: tuple[Gap, ...]
    joins: tuple[Join, ...]
    damage_s: Float64[np.ndarray, " d"]
    """When the pictures appear that follow unreadable bytes, ascending."""
    lost_s: float | None
    """Where a container without timestamps loses the clock for good, seconds; None if nowhere."""
    rate: Fraction
    """The highest rate of pictures that holds for a while, 1/s."""
    average_rate: float
    """Pictures per second, without the gaps."""

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
    def spans(self) -> tuple[tuple[float, float], ...]:
        """Return the stretches with pictures: start and end, seconds of the video."""
        starts = [0.0, *(gap.end_s for gap in self.gaps)]
        ends = [*(gap.start_s for gap in self.gaps), self.duration_s]
        return tuple(zip(starts, ends, strict=True))

    def count_between(self, start_s: float, end_s: float) -> int:
        """Return the number of pictures that should appear between two times, both excluded."""
        first = np.searchsorted(self.pictures_s, start_s + 1e-3, side="right")
        return max(0, int(np.searchsorted(self.pictures_s, end_s - 1e-3, side="left") - first))

    def next_key_s(self, time_s: float) -> float:
        """Return when a decoder that has lost its way shows true pictures again, seconds.

        Infinite if it never does.
        """
        index = int(np.searchsorted(self.keys_s, time_s - 1e-3))
        return float(self.keys_s[index]) if index < len(self.keys_s) else math.inf

    def is_damaged(self, start_s: float, end_s: float) -> bool:
        """Return whether bytes of the file are unreadable between two times."""
        return bool(np.any((self.damage_s > start_s) & (self.damage_s < end_s + JUMP_BACK_S)))

    def join_between(self, start_s: float, end_s: float) -> float | None:
        """Return where recordings were joined after one time and before or at another, seconds."""
        return next((j.at_s for j in self.joins if start_s < j.at_s <= end_s + 1e-3), None)

    def is_gap(self, start_s: float, end_s: float) -> bool:
        """Return whether a gap lies between two times."""
        return any(gap.start_s < end_s and start_s < gap.end_s for gap in self.gaps)


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
        for index in range(self._index, len(self._pieces)):
            piece = self._pieces[index]
            time_s = container_s + piece.offset_s
            is_inside = piece.start_s - _HAIR_S <= container_s <= piece.end_s + _HAIR_S
            if is_inside and time_s > self._last_s - JUMP_BACK_S:
                self._index = index
                break
        else:
            # A decoder may invent times where the container has none.
            time_s = container_s + self._pieces[self._index].offset_s
        self._last_s = max(self._last_s, time_s)
        return max(time_s, 0.0)


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
) -> Timeline:
    """Return the clock of a video stream.

    Args:
        packets: At least one packet.
        average_rate: The container's average rate, pictures per second.
        nominal_rate: The rate that the container or the codec states.
        joinable: Whether the container's clock may jump by design, as that of MPEG streams does.
        counts: Whether the container has no timestamps: its clock counts pictures.
        listed: Number of pictures that the container lists; 0 if it lists none.
    """
    packets = _with_all_times(packets, average_rate)
    usual_s = _usual_interval(packets.order_s, float(average_rate))

    # A piece has its own offset from the container's clock to the video's clock.
    lost = _lost_pictures(packets, usual_s, listed) if counts else {}
    runs = _runs(packets, usual_s, lost)
    _set_offsets(runs, joinable=joinable)
    lost_s = None
    for run in runs:
        run.offset_s += usual_s * sum(count for index, count in lost.items() if index <= run.first)
        if lost_s is None and lost.get(run.first, 1.0) == 0.0:
            lost_s = run.start_s + run.offset_s
    pieces = [Piece(start_s=run.start_s, end_s=run.end_s, offset_s=run.offset_s) for run in runs]
    joins = tuple(
        Join(at_s=after.start_s + after.offset_s, before_s=before.end_s, after_s=after.start_s)
        for before, after in itertools.pairwise(runs)
        if abs(before.offset_s - after.offset_s) > _HAIR_S and after.first not in lost
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

    return Timeline(
        pictures_s=pictures,
        keys_s=np.unique(times[packets.are_keys]),
        damage_s=np.unique(times[_follows_damage(packets)]),
        lost_s=lost_s,
        pieces=tuple(pieces),
        gaps=tuple(_gaps(pictures, usual_s)),
        joins=joins,
        rate=_highest_rate(pictures, average_rate, nominal_rate),
        average_rate=_average_rate(pictures, usual_s),
    )


def _with_all_times(packets: Packets, average_rate: Fraction) -> Packets:
    """Return packets that all have times: raw streams have none, and MPEG streams few."""
    times, order = packets.times_s, packets.order_s
    order = np.where(np.isnan(order), times, order)
    times = np.where(np.abs(times - order) > LONGEST_PICTURE_S, np.nan, times)  # damaged
    if np.isnan(times).all():
        times = order
    if np.isnan(times).all():
        times = np.arange(len(times)) / float(average_rate)
        order = times
    elif np.isnan(order).any():
        # Untimed pictures lie between their neighbors.
        known = np.flatnonzero(~np.isnan(order))
        steps = np.arange(len(order)) / float(average_rate)
        nearest = known[np.maximum(np.searchsorted(known, np.arange(len(order)), "right") - 1, 0)]
        order = np.where(np.isnan(order), order[nearest] + steps - steps[nearest], order)
    # Pictures appear some time after they are decoded; the first one tells how much.
    delays = (times - order)[~np.isnan(times)]
    delay_s = float(np.clip(delays[0], 0.0, JUMP_BACK_S))
    return Packets(
        times_s=np.where(np.isnan(times), order + delay_s, times),
        order_s=order,
        positions=packets.positions,
        sizes=packets.sizes,
        are_keys=packets.are_keys,
    )


def _usual_interval(order_s: Float64[np.ndarray, " n"], average_rate: float) -> float:
    """Return the median interval between pictures, seconds."""
    intervals = np.diff(order_s)
    intervals = intervals[(intervals > 1e-6) & (intervals <= LONGEST_PICTURE_S)]
    return float(np.median(intervals)) if len(intervals) else min(1 / average_rate, PAUSE_S)


def _lost_pictures(packets: Packets, usual_s: float, listed: int) -> dict[int, float]:
    """Return how many pictures were lost before each packet behind unreadable bytes.

    A clock that counts pictures stands still over such bytes. The number of listed pictures tells
    the loss; where nothing is listed, it is 0, and the clock is lost.
    """
    skipped = _skipped_bytes(packets)
    holes = np.flatnonzero(_follows_damage(packets) & (skipped > 0))
    total = float(skipped[holes].sum())
    if 0 < listed <= len(packets):
        return {}
    missing = max(0, listed - len(packets))
    return {int(hole): float(round(missing * skipped[hole] / total)) for hole in holes}


def _runs(packets: Packets, usual_s: float, lost: Mapping[int, float]) -> list[_Run]:
    """Split packets where their clock jumps, and behind lost pictures."""
    order, times = packets.order_s, packets.times_s
    highest = np.maximum.accumulate(order)
    steps = np.diff(order)
    is_back = order[1:] < highest[:-1] - JUMP_BACK_S

    # Only the first packet of those that are behind the highest is a jump.
    is_jump = (is_back & (steps < -JUMP_BACK_S)) | (steps > max(PAUSE_S, UNUSUAL * usual_s))
    starts = sorted({0, *(np.flatnonzero(is_jump) + 1).tolist(), *lost})
    ends = [*starts[1:], len(order)]

    byte_rate, skipped = _byte_rate(packets, is_jump), _skipped_bytes(packets)
    runs = []
    for first, end in zip(starts, ends, strict=True):
        start_s, last_s = float(times[first:end].min()), float(times[first:end].max())
        run = _Run(first=first, start_s=start_s, end_s=last_s + min(usual_s, PAUSE_S))
        if first:
            gap_s = float(order[first] - order[first - 1])
            run.is_contiguous = bool(skipped[first] < _MISSING_BYTES * byte_rate * gap_s)
        runs.append(run)
    return runs


def _byte_rate(packets: Packets, is_jump: Bool[np.ndarray, " m"]) -> float:
    """Return the bytes of the file per second of video, sound included."""
    known = np.flatnonzero(packets.positions >= 0)
    steps = np.diff(packets.order_s)
    seconds = float(steps[~is_jump & (steps > 0)].sum())
    if len(known) < 2 or seconds <= 0:
        return 0.0
    return float(packets.positions[known[-1]] - packets.positions[known[0]]) / seconds


def _skipped_bytes(packets: Packets) -> Float64[np.ndarray, " n"]:
    """Return the bytes of the file between each packet and the one before; 0 if unknown."""
    skipped = np.zeros(len(packets))
    ends = packets.positions + packets.sizes
    known = (packets.positions[1:] >= 0) & (packets.positions[:-1] >= 0)
    skipped[1:][known] = (packets.positions[1:] - ends[:-1])[known]
    return skipped


def _follows_damage(packets: Packets) -> Bool[np.ndarray, " n"]:
    """Return which packets follow unreadable bytes that are worth a second of video."""
    no_jumps = np.zeros(max(len(packets) - 1, 0), dtype=np.bool_)
    byte_rate = _byte_rate(packets, no_jumps)
    is_damaged = _skipped_bytes(packets) > (byte_rate * PAUSE_S if byte_rate > 0 else np.inf)

    # Where positions are unknown, any pause may be damage.
    is_unknown = (packets.positions[1:] < 0) | (packets.positions[:-1] < 0)
    is_damaged[1:] |= is_unknown & (np.diff(packets.order_s) > PAUSE_S)
    return is_damaged


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
    """Return whether the clock returns, after this run, to where it would have been."""
    if index + 1 == len(runs):
        return False
    run, after = runs[index], runs[index + 1]
    away_s = abs(run.start_s + kept - end_s)
    return away_s > PAUSE_S and abs(after.start_s + kept - end_s - run.length_s) < PAUSE_S


def _gaps(pictures_s: Float64[np.ndarray, " n"], usual_s: float) -> Iterator[Gap]:
    """Yield the intervals between pictures that no single picture fills."""
    intervals = np.diff(pictures_s)
    before = np.concatenate([[usual_s], intervals[:-1]])
    after = np.concatenate([intervals[1:], [usual_s]])
    neighbors = np.maximum(before, after)
    is_gap = (intervals > LONGEST_PICTURE_S) | (
        (intervals > PAUSE_S) & (intervals > UNUSUAL * neighbors)
    )
    for index in np.flatnonzero(is_gap):
        shown_s = min(float(before[index]), PAUSE_S)
        yield Gap(start_s=float(pictures_s[index]) + shown_s, end_s=float(pictures_s[index + 1]))


def _average_rate(pictures_s: Float64[np.ndarray, " n"], usual_s: float) -> float:
    intervals = np.diff(pictures_s)
    intervals = intervals[intervals <= LONGEST_PICTURE_S]
    return 1 / float(intervals.mean()) if len(intervals) else 1 / usual_s


def _highest_rate(
    pictures_s: Float64[np.ndarray, " n"], average_rate: Fraction, nominal_rate: Fraction
) -> Fraction:
    """Return the highest rate that holds over some pictures, as a stated rate if one is close."""
    window = min(_RATE_WINDOW, len(pictures_s) - 1)
    if window < 1:
        return average_rate
    shortest_s = float((pictures_s[window:] - pictures_s[:-window]).min()) / window
    measured = 1 / min(max(shortest_s, 1e-6), LONGEST_PICTURE_S)

    for stated in (average_rate, nominal_rate):
        if abs(measured / float(stated) - 1) < _SAME_RATE:
            return stated
    return Fraction(measured).limit_denominator(1001)
