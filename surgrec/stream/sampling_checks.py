"""Checks of stored clips against the sampling of training clips: lengths and frame rates."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from surgrec.errors import MixtureError

TOLERANCE_S = 1e-6
"""Seconds by which a clip may be shorter than required: durations are rounded."""
_RATE_TOLERANCE = 2e-3
"""Share by which rates may differ: 29.97 frames per second serve a sampling at 30."""


@dataclass(frozen=True, kw_only=True)
class RepeatedFrames:
    """Clips of a source that are stored at a lower rate than they are sampled at."""

    source: str
    clips: int
    """Clips whose frames repeat."""
    of: int
    """Clips of the source that can be drawn."""
    least_fps: float
    """Lowest stored rate, frames per second."""

    def __str__(self) -> str:
        return (
            f"{self.clips} of {self.of} clips of {self.source} store {self.least_fps:g} frames "
            "per second"
        )


def repeats_frames(stored_fps: float, fps: float) -> bool:
    """Return whether a sampling at `fps` frames per second repeats frames of a slower video."""
    return stored_fps < _lowest_fps(fps)


def find_repeated_frames(
    stored_fps: Mapping[str, Float64[np.ndarray, " _"]], fps: float
) -> list[RepeatedFrames]:
    """Return the sources that a sampling at `fps` frames per second would repeat frames of.

    Args:
        stored_fps: Stored frames per second of each clip, by source.
        fps: Frames per second of the sampling.
    """
    slow = {source: rates[rates < _lowest_fps(fps)] for source, rates in stored_fps.items()}
    return [
        RepeatedFrames(
            source=source,
            clips=len(rates),
            of=len(stored_fps[source]),
            least_fps=float(rates.min()),
        )
        for source, rates in slow.items()
        if len(rates)
    ]


def require_durations(
    name: str,
    durations_s: Float64[np.ndarray, " n"],
    stored_fps: Float64[np.ndarray, " n"],
    num_frames: int,
    fps: float,
    *,
    joined: bool,
) -> None:
    """Refuse a stratum with a clip that is shorter than a training clip.

    Args:
        name: Name of the stratum.
        durations_s: Length of each clip, or of its stretch, seconds.
        stored_fps: Stored frames per second of each clip.
        num_frames: Frames of a training clip.
        fps: Frames per second of a training clip.
        joined: Whether the lengths are those of stretches.

    Raises:
        MixtureError: Names the number of short clips, and remedies that leave clips to draw.
    """
    span_s, slowest = num_frames / fps, float(stored_fps.min(initial=math.inf))
    num_short = int((durations_s < span_s - TOLERANCE_S).sum())
    if not num_short:
        return

    longest_s = float(durations_s.max())
    if num_short < len(durations_s):
        least = "min_stretch_s" if joined else "min_duration_s"
        what = ", joined with their adjacent clips," if joined else ""
        count = f"{num_short} of {len(durations_s)} clips{what} are"
        remedies = [f"set mixture.{least} to {span_s:g} to leave them out"]
    else:
        what = ", joined with its adjacent clips," if joined else ""
        count = f"all {num_short} clips (the longest{what} lasts {longest_s:g} s) are"
        clip_s = math.ceil(10 * (span_s + 1 / slowest)) / 10  # a clip may lack a frame of clip_s
        remedies = [
            "build the videos into another corpus with "
            f"--encode.clip_s {clip_s:g} --encode.min_clip_s {span_s:g}"
        ]

    if not joined:
        remedies.append("set join_clips to true to continue in adjacent clips")
    remedies.append("sample fewer frames")
    if num_frames / slowest <= longest_s:
        remedies.append(f"sample them at a higher rate (at most {slowest:g} frames per second)")
    raise MixtureError(
        f"{name}: {count} shorter than the {span_s:g} s of a training clip; "
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}"
    )


def _lowest_fps(fps: float) -> float:
    """Return the lowest stored rate that serves a sampling at `fps` frames per second."""
    return fps / (1 + _RATE_TOLERANCE)
