"""The script of a recording: which phase when, and when the camera is out of the body. Pure; numbers are frames."""

import math
from dataclasses import dataclass

import numpy as np

from surgrec_shard.phantom.domains import Domain
from surgrec_shard.phantom.motion import eased

SHORTEST_PHASE_S = 2.6
"""A recording has as many of its domain's phases as fit in at this length; the two of the pair come first."""

OUTSIDE_S = (1.2, 2.2)
"""The camera is out of the body for between these, but for no more than a sixth of the recording."""

ENTRY_S = 0.6
"""Instruments need this long to enter, and to leave."""

FADE_S = 0.35
"""The way out of the body, and the way back."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time of a recording, and where it lies in its phase."""

    time_s: float
    phase: str
    since_s: float
    """Since the phase began."""
    left_s: float
    """Until the phase ends."""
    spent: tuple[tuple[str, float], ...] = ()
    """The phases so far, this one included, and the seconds spent in each: how far a scope has travelled follows from it."""

    @property
    def presence(self) -> float:
        """How far the instruments are in, from 0 to 1: they enter as a phase begins and leave as it ends."""
        return eased(min(self.since_s, self.left_s) / ENTRY_S + 0.1)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Frames `start` to `end` (exclusive) have this value."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens in a recording."""

    num_frames: int
    fps: int
    phases: tuple[Interval, ...]
    """They follow each other without a gap, from the first frame to the last."""
    outside: tuple[Interval, ...]

    def moment(self, frame: int) -> Moment:
        """Where a frame lies."""
        begun = [phase for phase in self.phases if phase.start <= frame]
        now = begun[-1]
        return Moment(
            time_s=frame / self.fps,
            phase=now.value,
            since_s=(frame - now.start) / self.fps,
            left_s=(now.end - frame) / self.fps,
            spent=tuple(
                (phase.value, (min(phase.end, frame) - phase.start) / self.fps) for phase in begun
            ),
        )

    def outside_share(self, frame: int) -> float:
        """How far the camera is out of the body, from 0 to 1."""
        return max((self._share_of(gone, frame) for gone in self.outside), default=0.0)

    def labels(self) -> list[tuple[str, str, str, str]]:
        """Rows of (task, start_s, end_s, value); times are cut, not rounded, to the millisecond: none lies past the end."""
        tasks = [("phase", phase) for phase in self.phases] + [
            ("out_of_body", gone) for gone in self.outside
        ]
        return [
            (task, self._seconds(span.start), self._seconds(span.end), span.value)
            for task, span in tasks
        ]

    def _share_of(self, gone: Interval, frame: int) -> float:
        """Fades out of the body and back into it; a recording may also begin or end outside."""
        out = 1.0 if gone.start == 0 else eased((frame - gone.start) / (FADE_S * self.fps))
        back = (
            1.0 if gone.end == self.num_frames else eased((gone.end - frame) / (FADE_S * self.fps))
        )
        return out * back

    def _seconds(self, frame: int) -> str:
        return f"{frame * 1000 // self.fps / 1000:.3f}"


def write_script(
    random: np.random.Generator, domain: Domain, *, num_frames: int, fps: int, leaves_body: bool
) -> Script:
    """A script for one recording: phases in some order and of unlike lengths, and perhaps a moment outside."""
    others = [phase for phase in domain.phases if phase not in domain.pair]
    num_phases = min(max(math.floor(num_frames / fps / SHORTEST_PHASE_S), 2), len(domain.phases))
    chosen = [*domain.pair, *random.permutation(others)[: num_phases - 2]]
    order = [str(chosen[index]) for index in random.permutation(num_phases)]
    shares = np.cumsum(random.uniform(0.75, 1.25, size=num_phases))
    cuts = [0, *(round(num_frames * float(share / shares[-1])) for share in shares)]
    phases = tuple(
        Interval(start=start, end=end, value=value)
        for start, end, value in zip(cuts[:-1], cuts[1:], order, strict=True)
    )
    outside = (_outside(random, num_frames, fps),) if leaves_body else ()
    return Script(num_frames=num_frames, fps=fps, phases=phases, outside=outside)


def _outside(random: np.random.Generator, num_frames: int, fps: int) -> Interval:
    """Before the first incision, somewhere in between to clean the lens, or after the last stitch."""
    length = round(min(random.uniform(*OUTSIDE_S), num_frames / fps / 6) * fps)
    start = (0, int(random.integers(1, num_frames - length)), num_frames - length)[
        int(random.integers(3))
    ]
    return Interval(start=start, end=start + length, value="yes")
