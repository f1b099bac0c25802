"""Properties of a recording, read with ffprobe. No frame is decoded."""

import json
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from surgrec.recordings._ffmpeg import FfmpegError, run_ffprobe
from surgrec.recordings._recording import BadVideoError, Recording

_ENTRIES = (
    "stream=width,height,avg_frame_rate,r_frame_rate,duration,sample_aspect_ratio,field_order"
    ":stream_tags=DURATION:stream_side_data=rotation:format=duration"
)


@dataclass(frozen=True, kw_only=True)
class RecordingFacts:
    """Properties of a recording as displayed: rotated, with square pixels."""

    width: int
    height: int
    fps: float
    duration_s: float | None
    """Duration of the video stream; None if the container does not state it."""
    interlaced: bool
    rotated: bool
    """Whether the container tells players to rotate or mirror the frames."""


def inspect(recording: Recording) -> RecordingFacts:
    """Return the properties of the first video stream of a recording.

    Raises:
        BadVideoError: The file is not a video, or has no video stream.
    """
    arguments = ["-select_streams", "V:0", "-show_entries", _ENTRIES, "-of", "json"]
    try:
        output = json.loads(run_ffprobe(recording, arguments))
    except FfmpegError as error:
        raise _unreadable(recording, str(error)) from None
    if not output.get("streams"):
        raise BadVideoError("no_video", "the file has no video stream")

    stream = output["streams"][0]
    width, height = _display_size(stream)
    fps = _fraction(stream.get("avg_frame_rate")) or _fraction(stream.get("r_frame_rate"))
    if width < 16 or height < 16 or not fps or fps > 1000:
        raise BadVideoError(
            "no_video",
            f"the video stream has {width} x {height} pixels at {float(fps or 0):g} "
            "frames per second",
        )
    return RecordingFacts(
        width=width,
        height=height,
        fps=float(fps),
        duration_s=_duration_s(stream, output.get("format", {})),
        interlaced=stream.get("field_order") in ("tt", "bb", "tb", "bt"),
        rotated=any("rotation" in side for side in stream.get("side_data_list", [])),
    )


def _unreadable(recording: Recording, complaint: str) -> BadVideoError:
    """Return the error for a file that ffprobe cannot read.

    ffprobe has the same complaint about a truncated mp4 and about a text file: no moov atom.
    The truncated mp4 still begins like an mp4.
    """
    begins_like_mp4 = os.pread(recording.fileno(), 8, 0)[4:] == b"ftyp"
    if begins_like_mp4 and "moov atom not found" in complaint:
        return BadVideoError(
            "truncated",
            "the end of the mp4, with its index (moov), is missing; copy the file again",
        )
    return BadVideoError("unreadable", f"ffmpeg cannot read the file as a video ({complaint})")


def _display_size(stream: dict[str, Any]) -> tuple[int, int]:
    """Return width and height after rotation, with square pixels."""
    width, height = int(stream.get("width", 0)), int(stream.get("height", 0))
    aspect = _fraction(str(stream.get("sample_aspect_ratio", "")).replace(":", "/"))
    if aspect:
        width = round(width * aspect)
    rotation = next(
        (side["rotation"] for side in stream.get("side_data_list", []) if "rotation" in side), 0
    )
    return (height, width) if round(float(rotation)) % 180 == 90 else (width, height)


def _duration_s(stream: dict[str, Any], container: dict[str, Any]) -> float | None:
    """Return the duration of the stream.

    Without one, return that of the container, which may be that of a longer sound track.
    """
    if "duration" in stream:
        return float(stream["duration"])
    tag = stream.get("tags", {}).get("DURATION")  # Matroska: HH:MM:SS.nnnnnnnnn
    if tag:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(container["duration"]) if "duration" in container else None


def _fraction(text: str | None) -> Fraction | None:
    """Return a positive fraction, or None for any other text."""
    try:
        value = Fraction(text or "")
    except (ValueError, ZeroDivisionError):
        return None
    return value if value > 0 else None
