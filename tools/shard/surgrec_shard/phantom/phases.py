"""The script of a video: its phases, and the times when the camera is outside the body.

Pure functions. Times in a script are frame numbers.
"""

import math
from dataclasses import dataclass

import numpy as np

from surgrec_shard.phantom.domains import Domain
from surgrec_shard.phantom.motion import eased

SHORTEST_PHASE_S = 2.6
"""A video has as many phases as fit in at this length. The two phases of the pair come first."""

OUTSIDE_S = (1.2, 2.2)
"""Shortest and longest time outside the body; never more than a sixth of the video."""

ENTRY_S = 0.6
"""Time in which instruments enter, and in which they leave."""

FADE_S = 0.35
"""Time in which the camera leaves the body, and in which it returns."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A time of a video and its position in its phase."""

    time_s: float
    phase: str
    since_s: float
    """Time since the phase began."""
    left_s: float
    """Time until the phase ends."""
    spent: tuple[tuple[str, float], ...] = ()
    """Phases up to this one, with the seconds spent in each. A scope's travel follows from it."""

    @property
    def presence(self) -> float:
        """How far the instruments are in, in [0, 1]: they enter and leave with the phase."""
        return eased(min(self.since_s, self.left_s) / ENTRY_S + 0.1)


@dataclass(frozen=True, kw_only=True)
class FrameSpan:
    """A value that holds from frame `start` to frame `end` (exclusive)."""

    start: int
    end: int
    value: str


@dataclass(frozen=True, kw_only=True)
class Script:
    """The events of a video."""

    num_frames: int
    fps: int
    phases: tuple[FrameSpan, ...]
    """Adjacent spans from the first frame to the last."""
    outside: tuple[FrameSpan, ...]

    def moment(self, frame: int) -> Moment:
        """Return the moment of a frame."""
        begun = [phase for phase in self.phases if phase.start <= frame]
        current = begun[-1]
        return Moment(
            time_s=frame / self.fps,
            phase=current.value,
            since_s=(frame - current.start) / self.fps,
            left_s=(current.end - frame) / self.fps,
            spent=tuple(
                (phase.value, (min(phase.end, frame) - phase.start) / self.fps) for phase in begun
            ),
        )

    def outside_share(self, frame: int) -> float:
        """Return how far the camera is outside the body, in [0, 1]."""
        return max((self._share_of(span, frame) for span in self.outside), default=0.0)

    def labels(self) -> list[tuple[str, str, str, str]]:
        """Return rows of (task, start_s, end_s, value).

        Times are cut to the millisecond, not rounded, so that none is after the end of the video.
        """
        spans = [("phase", span) for span in self.phases]
        spans += [("out_of_body", span) for span in self.outside]
        return [
            (task, self._seconds(span.start), self._seconds(span.end), span.value)
            for task, span in spans
        ]

    def _share_of(self, span: FrameSpan, frame: int) -> float:
        """Fade out of the body and back into it. A video may also begin or end outside."""
        out = 1.0 if span.start == 0 else eased((frame - span.start) / (FADE_S * self.fps))
        back = (
            1.0 if span.end == self.num_frames else eased((span.end - frame) / (FADE_S * self.fps))
        )
        return out * back

    def _seconds(self, frame: int) -> str:
        return f"{frame * 1000 // self.fps / 1000:.3f}"


def write_script(
    random: np.random.Generator, domain: Domain, *, num_frames: int, fps: int, leaves_body: bool
) -> Script:
    """Return a random script for one video.

    Args:
        random: Draws the order and the lengths of the phases.
        domain: The domain of the video.
        num_frames: Length of the video.
        fps: Frames per second.
        leaves_body: Whether the camera leaves the body once.
    """
    # Choose phases: the pair always, others as far as the video is long enough.
    others = [phase for phase in domain.phases if phase not in domain.pair]
    num_phases = min(max(math.floor(num_frames / fps / SHORTEST_PHASE_S), 2), len(domain.phases))
    chosen = [*domain.pair, *random.permutation(others)[: num_phases - 2]]

    # Shuffle them, and divide the video between them.
    order = [str(chosen[index]) for index in random.permutation(num_phases)]
    shares = np.cumsum(random.uniform(0.75, 1.25, size=num_phases))
    cuts = [0, *(round(num_frames * float(share / shares[-1])) for share in shares)]
    phases = tuple(
        FrameSpan(start=start, end=end, value=value)
        for start, end, value in zip(cuts[:-1], cuts[1:], order, strict=True)
    )

    outside = (_outside(random, num_frames, fps),) if leaves_body else ()
    return Script(num_frames=num_frames, fps=fps, phases=phases, outside=outside)


def _outside(random: np.random.Generator, num_frames: int, fps: int) -> FrameSpan:
    """Return a time outside: at the beginning, in between to clean the lens, or at the end."""
    length = round(min(random.uniform(*OUTSIDE_S), num_frames / fps / 6) * fps)
    starts = 0, int(random.integers(1, num_frames - length)), num_frames - length
    start = starts[int(random.integers(3))]
    return FrameSpan(start=start, end=start + length, value="yes")
