"""Recordings: video files as devices wrote them. They may be damaged, joined or hostile.

Example:
    >>> with Recording(Path("op.mp4")) as recording:
    ...     inspect(recording).fps
    25.0
"""

from surgrec.recordings._facts import shortfall_s
from surgrec.recordings._ffmpeg import FfmpegError, read_error, run_ffprobe
from surgrec.recordings._frames import read_frames, stored_size
from surgrec.recordings._inspect import RecordingFacts, inspect
from surgrec.recordings._packets import PAUSE_S
from surgrec.recordings._pictures import Picture, PictureReader
from surgrec.recordings._recording import BadVideoError, Recording
from surgrec.recordings._timeline import Timeline
from surgrec.recordings.process import find_program
from surgrec.regular_files import FileIdentity

__all__ = [
    "PAUSE_S",
    "BadVideoError",
    "FfmpegError",
    "FileIdentity",
    "Picture",
    "PictureReader",
    "Recording",
    "RecordingFacts",
    "Timeline",
    "find_program",
    "inspect",
    "read_error",
    "read_frames",
    "run_ffprobe",
    "shortfall_s",
    "stored_size",
]
