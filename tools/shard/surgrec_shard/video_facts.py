"""One video file -> what it holds, by ffprobe. Nothing is decoded yet."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from surgrec_shard.ffmpeg import FfmpegError, run_ffprobe

_ENTRIES = (
    "stream=width,height,avg_frame_rate,r_frame_rate,duration,sample_aspect_ratio,field_order"
    ":stream_tags=DURATION:stream_side_data=rotation:format=duration"
)


class BadVideoError(Exception):
    """A video that cannot be used. `reason` is one word for the corpus, the text is for the hospital's own report."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class VideoFacts:
    """What a video file holds, as it would be displayed (rotated, with square pixels)."""

    width: int
    height: int
    fps: float
    duration_s: float | None
    """Of the video stream; None where the container does not say."""
    interlaced: bool
    rotated: bool
    """Whether the container says to turn or mirror the frames for display."""


def probe(path: Path) -> VideoFacts:
    """Facts about the first video stream of a file.

    Raises:
        BadVideoError: The file is missing or empty, is no video, or has no video stream.
    """
    if not path.is_file():
        raise BadVideoError("missing", "the file does not exist")
    if path.stat().st_size == 0:
        raise BadVideoError("empty", "the file has no bytes")
    try:
        found = json.loads(
            run_ffprobe(path, ["-select_streams", "V:0", "-show_entries", _ENTRIES, "-of", "json"])
        )
    except FfmpegError as error:
        raise _unreadable(path, str(error)) from None
    if not found.get("streams"):
        raise BadVideoError("no_video", "the file has no video stream")
    stream = found["streams"][0]
    width, height = _display_size(stream)
    fps = _fraction(stream.get("avg_frame_rate")) or _fraction(stream.get("r_frame_rate"))
    if width < 16 or height < 16 or not fps or fps > 1000:
        raise BadVideoError(
            "no_video",
            f"its video stream says {width}x{height} pixels at {float(fps or 0):g} frames/s",
        )
    return VideoFacts(
        width=width,
        height=height,
        fps=float(fps),
        duration_s=_duration_s(stream, found.get("format", {})),
        interlaced=stream.get("field_order") in ("tt", "bb", "tb", "bt"),
        rotated=any("rotation" in side for side in stream.get("side_data_list", [])),
    )


def _unreadable(path: Path, complaint: str) -> BadVideoError:
    """ffprobe misses the moov atom in a copy that was cut short and in a text file alike; only the first begins as an mp4."""
    with path.open("rb") as file:
        begins_as_mp4 = file.read(8)[4:] == b"ftyp"
    if begins_as_mp4 and "moov atom not found" in complaint:
        return BadVideoError(
            "truncated",
            "its end is missing, where this mp4 has its index (moov): copy the file again",
        )
    return BadVideoError("unreadable", f"it is no video that ffmpeg can read ({complaint})")


def _display_size(stream: dict[str, Any]) -> tuple[int, int]:
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    aspect = _fraction(str(stream.get("sample_aspect_ratio", "")).replace(":", "/"))
    if aspect:
        width = round(width * aspect)
    rotation = next(
        (side["rotation"] for side in stream.get("side_data_list", []) if "rotation" in side), 0
    )
    return (height, width) if round(float(rotation)) % 180 == 90 else (width, height)


def _duration_s(stream: dict[str, Any], container: dict[str, Any]) -> float | None:
    """The stream's own duration where there is one: a container's may be that of a longer sound track."""
    if "duration" in stream:
        return float(stream["duration"])
    tag = stream.get("tags", {}).get("DURATION")  # Matroska: HH:MM:SS.nnnnnnnnn
    if tag:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(container["duration"]) if "duration" in container else None


def _fraction(text: str | None) -> Fraction | None:
    try:
        value = Fraction(text or "")
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
