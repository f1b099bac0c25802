"""The packets of a video stream: times that are missing, and traces of packets that were lost.

Pure functions, of which the timeline is made.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

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
MISSING_PICTURES = 3
"""Pictures in a row whose loss matters. One or two leave small flaws."""
_STEADY = 0.98
"""Share of usual intervals between packets from which longer ones tell of lost packets."""
_HEADER_BYTES = 16
"""Bytes by which the distance of sound packets may vary."""


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

    @cached_property
    def skipped_bytes(self) -> Float64[np.ndarray, " n"]:
        """Return the bytes of the file between each packet and the one before; 0 if unknown.

        Packets of one block, as of ASF, have its place in common.
        """
        skipped = np.zeros(len(self))
        begins_block = np.concatenate([[True], np.diff(self.positions) != 0])
        sizes = np.cumsum(self.sizes)
        before_block = np.maximum.accumulate(np.where(begins_block, sizes - self.sizes, 0))
        ends = self.positions + sizes - before_block
        known = (self.positions[1:] >= 0) & (self.positions[:-1] >= 0)
        skipped[1:][known] = (self.positions[1:] - ends[:-1])[known]
        return skipped


def with_all_times(packets: Packets, average_rate: Fraction) -> Packets:
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


def usual_interval(order_s: Float64[np.ndarray, " n"], average_rate: float) -> float:
    """Return the median interval between pictures, seconds."""
    intervals = np.diff(order_s)
    intervals = intervals[(intervals > 1e-6) & (intervals <= LONGEST_PICTURE_S)]
    return float(np.median(intervals)) if len(intervals) else min(1 / average_rate, PAUSE_S)


def is_pause(steps: Float64[np.ndarray, " m"], usual_s: float) -> Bool[np.ndarray, " m"]:
    """Return which steps between packets are unusually long."""
    return steps > max(PAUSE_S, UNUSUAL * usual_s)


def byte_rate(packets: Packets, is_jump: Bool[np.ndarray, " m"]) -> float:
    """Return the bytes of the file per second of video, sound included, without jumps."""
    # Program streams tell the places of some packets only.
    known = np.flatnonzero(packets.positions >= 0)
    jumps = np.concatenate([[0], np.cumsum(is_jump)])
    steps, distances = np.diff(packets.order_s[known]), np.diff(packets.positions[known])
    counted = (np.diff(jumps[known]) == 0) & (steps > 0)
    seconds = float(steps[counted].sum())
    return max(0.0, float(distances[counted].sum()) / seconds) if seconds > 0 else 0.0


def lost_pictures(
    packets: Packets, usual_s: float, period_s: float, listed: int, is_whole: bool
) -> dict[int, float]:
    """Return how many pictures were lost before each packet behind unreadable bytes.

    A clock that counts pictures does not advance over lost ones. The number of listed pictures
    tells the loss; where nothing is listed, it is 0, and the clock is lost. A picture that the
    recorder dropped is listed, without a packet, and the clock counts it.
    """
    counted = round(float(packets.order_s[-1] - min(packets.order_s[0], 0.0)) / period_s) + 1
    missing = listed - max(counted, len(packets))
    if listed > 0 and missing <= 0:
        return {}
    skipped = packets.skipped_bytes
    holes = np.flatnonzero(_follows_damage(packets, usual_s) & (skipped > 0))
    if listed <= 0:
        return dict.fromkeys(holes.tolist(), 0.0)

    # The clock has run on over the empty packets of dropped pictures.
    stands = np.concatenate([[False], np.diff(packets.order_s) < 1.5 * period_s])
    if is_whole and not len(holes) and stands.any():
        # Of removed packets few bytes are left, but more than lie between others.
        traces = np.where(stands, skipped - np.percentile(skipped[stands], 99), 0.0)
        holes = np.flatnonzero(traces >= max(1.0, min(traces.max(), _HEADER_BYTES)))
        skipped = traces
    total = float(skipped[holes].sum())
    return {int(hole): float(round(missing * skipped[hole] / total)) for hole in holes}


def lost_packets(packets: Packets, usual_s: float, *, joinable: bool) -> Bool[np.ndarray, " n"]:
    """Return which packets follow lost ones.

    In a recording with a steady rate, a long step tells of lost packets, unless the packets lie
    close together in the file: then the recorder paused. With a variable rate, only unreadable
    bytes tell of them. The packets of MPEG streams are scattered.
    """
    lost = _follows_damage(packets, usual_s)
    steps = np.diff(packets.order_s)
    is_usual = (steps > 0.5 * usual_s) & (steps < 1.5 * usual_s)
    if len(steps) and float(is_usual.mean()) >= _STEADY:
        skipped = packets.skipped_bytes
        is_close = (skipped >= 0) & (skipped <= 2 * np.percentile(skipped, 99) + _HEADER_BYTES)
        is_close &= (packets.positions >= 0) & (not joinable)
        lost[1:] |= (steps > (MISSING_PICTURES + 0.5) * usual_s) & ~is_close[1:]
    return lost


def _follows_damage(packets: Packets, usual_s: float) -> Bool[np.ndarray, " n"]:
    """Return which packets follow unreadable bytes that are worth a second of video."""
    usual_bytes = byte_rate(packets, is_pause(np.diff(packets.order_s), usual_s))
    is_damaged = packets.skipped_bytes > (usual_bytes * PAUSE_S if usual_bytes > 0 else np.inf)

    # Where positions are unknown, any pause may be damage.
    is_unknown = (packets.positions[1:] < 0) | (packets.positions[:-1] < 0)
    is_damaged[1:] |= is_unknown & (np.diff(packets.order_s) > PAUSE_S)
    return is_damaged
