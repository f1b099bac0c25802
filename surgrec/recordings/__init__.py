"""Recordings: video files as devices wrote them. They may be damaged, joined or hostile.

Example:
    >>> with Recording(Path("op.mp4")) as recording:
    ...     inspect(recording).fps
    25.0
"""

from surgrec.recordings._content import (
    HEAD_BYTES,
    begins_like_other,
    begins_like_video,
    has_moving_picture,
    is_dicom_video,
    may_be_video,
)
from surgrec.recordings._facts import RecordingFacts, inspect, shortfall_s
from surgrec.recordings._ffmpeg import FfmpegError, read_error, run_ffprobe
from surgrec.recordings._frames import read_frames, stored_size
from surgrec.recordings._pictures import Picture, PictureReader
from surgrec.recordings._process import FfmpegProcess, find_program, starting
from surgrec.recordings._recording import BadVideoError, FileIdentity, Recording
from surgrec.recordings._timeline import Timeline

__all__ = [
    "HEAD_BYTES",
    "BadVideoError",
    "FfmpegError",
    "FfmpegProcess",
    "FileIdentity",
    "Picture",
    "PictureReader",
    "Recording",
    "RecordingFacts",
    "Timeline",
    "begins_like_other",
    "begins_like_video",
    "find_program",
    "has_moving_picture",
    "inspect",
    "is_dicom_video",
    "may_be_video",
    "read_error",
    "read_frames",
    "run_ffprobe",
    "shortfall_s",
    "starting",
    "stored_size",
]
