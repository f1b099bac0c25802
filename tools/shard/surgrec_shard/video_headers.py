"""Length and rate of videos, from the headers of their files. Nothing is decoded."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from surgrec.recordings import BadVideoError, FfmpegError, Recording, run_ffprobe

_PROBE = (
    *("-select_streams", "v:0", "-of", "default=noprint_wrappers=1:nokey=0"),
    *("-show_entries", "stream=avg_frame_rate:format=duration"),
)


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """Facts from the header of a video."""

    duration_s: float = 0.0
    """0: not stated."""
    fps: float = 0.0
    fault: str = ""
    """Why the header cannot be used; empty: it can."""


def read_headers(paths: Sequence[Path]) -> list[VideoHeader]:
    """Return the headers of video files, a file per core at once."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return list(pool.map(_read, paths))


def _read(path: Path) -> VideoHeader:
    try:
        with Recording(path) as recording:
            text = run_ffprobe(recording, _PROBE)
    except (BadVideoError, FfmpegError) as error:
        return VideoHeader(fault=f"the video cannot be read ({error})")

    values = dict(line.partition("=")[::2] for line in text.splitlines())
    duration_s = _positive(values.get("duration", ""))
    above, _, below = values.get("avg_frame_rate", "").partition("/")
    rate = _positive(above) / (_positive(below) or 1.0)

    if not rate:
        return VideoHeader(fault="the file has no video stream")
    return VideoHeader(duration_s=duration_s, fps=rate)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 < value < math.inf else 0.0
