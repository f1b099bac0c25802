"""Interlacing by content, where the decoder does not mention it."""

import math
from typing import Literal

from surgrec.recordings._ffmpeg import FfmpegError, run_ffmpeg
from surgrec.recordings._recording import Recording
from surgrec.recordings._timeline import Timeline

FieldOrder = Literal["flagged", "tff", "bff"]
"""`flagged`: pictures are progressive unless the decoder flags them; else the order of fields."""

_SAMPLE_PICTURES = 24
_SAMPLE_EVERY_S, _MOST_SAMPLES = 20.0, 5
_CLEARLY = 4.0
"""How many times more pictures must be interlaced than progressive."""
_ENOUGH = 10
_KEY = "lavfi.idet.multiple.current_frame"


def field_order(recording: Recording, stream: int, timeline: Timeline) -> FieldOrder:
    """Return the order of fields in pictures that are interlaced without a flag.

    A few pictures at several places of the file are compared with their neighbors (idet).

    Args:
        recording: The file.
        stream: Index of the video stream.
        timeline: Its clock.
    """
    places = min(_MOST_SAMPLES, max(1, math.ceil(timeline.duration_s / _SAMPLE_EVERY_S)))
    top = bottom = progressive = 0
    for place in range(places):
        at_s = timeline.duration_s * place / places
        counts = _count_fields(recording, stream, at_s)
        top, bottom, progressive = top + counts[0], bottom + counts[1], progressive + counts[2]

    if top + bottom < max(_ENOUGH, _CLEARLY * progressive):
        return "flagged"
    return "tff" if top >= bottom else "bff"


def _count_fields(recording: Recording, stream: int, at_s: float) -> tuple[int, int, int]:
    """Return how many unflagged pictures near a time are top first, bottom first, progressive."""
    seek = ["-noaccurate_seek", "-ss", f"{at_s:.3f}"] if at_s else []
    # Flagged pictures are deinterlaced first, so that idet does not count them.
    filters = ["yadif=deint=interlaced", f"trim=end_frame={_SAMPLE_PICTURES}", "idet"]
    filters += [f"metadata=print:key={_KEY}:file='pipe\\:1'"]
    output = ["-map", f"0:{stream}", "-an", "-vf", ",".join(filters)]
    output += ["-frames:v", str(_SAMPLE_PICTURES), "-f", "null", "-"]
    try:
        text = run_ffmpeg(recording, [*seek, "-threads", "1"], output)
    except FfmpegError:
        return 0, 0, 0
    found = [line.partition("=")[2].strip() for line in text.splitlines() if line.startswith(_KEY)]
    return found.count("tff"), found.count("bff"), found.count("progressive")
