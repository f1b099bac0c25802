"""Recordings: video files as devices wrote them. They may be damaged, joined or hostile.

Example:
    >>> with Recording(Path("op.mp4")) as recording:
    ...     inspect(recording).fps
    25.0
"""

from surgrec.recordings._facts import RecordingFacts, inspect
from surgrec.recordings._ffmpeg import FfmpegError, find_program, run_ffmpeg, run_ffprobe
from surgrec.recordings._recording import BadVideoError, FileIdentity, Recording

__all__ = [
    "BadVideoError",
    "FfmpegError",
    "FileIdentity",
    "Recording",
    "RecordingFacts",
    "find_program",
    "inspect",
    "run_ffmpeg",
    "run_ffprobe",
]
