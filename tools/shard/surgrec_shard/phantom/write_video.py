"""Encoding of frames with ffmpeg, through a pipe. Equal frames give equal bytes."""

import fcntl
import os
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from surgrec.errors import StorageError
from surgrec.recordings import find_program
from surgrec_shard.disk import OTHER_OUT, writing_to

MUXERS = {"mp4": "mp4", "mkv": "matroska", "avi": "avi", "mov": "mov"}

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "22")
MPEG4 = ("-c:v", "mpeg4", "-q:v", "4")

PIPE_BYTES = 2**20
"""Size of the pipe, a frame or more.

With the usual 64 KiB, renderer and encoder wait for each other a fifth of the time.
"""


def write_video(
    path: Path, frames: Iterable[UInt8[np.ndarray, "rows w"]], *, size: tuple[int, int], fps: int
) -> None:
    """Encode frames. The file appears complete or not at all.

    Args:
        path: The file. mp4, mkv and mov are H.264, avi is MPEG-4 part 2.
        frames: Planar YUV 4:2:0, with 1.5 times as many rows as the picture.
        size: Height and width of the picture; both even.
        fps: Frames per second.

    Raises:
        SetupError: ffmpeg is not installed.
        StorageError: ffmpeg failed: a full disk, or a missing encoder.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    command = _command(partial, path.suffix[1:], size, fps)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        with suppress(OSError):  # above this user's limit: a smaller pipe is only slower
            fcntl.fcntl(process.stdin, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        with suppress(BrokenPipeError):  # ffmpeg has stopped; its stderr gives the reason
            for frame in frames:
                process.stdin.write(frame.data)
        _, stderr = process.communicate()

    if process.returncode != 0:
        partial.unlink(missing_ok=True)
        complaint = " ".join(stderr.decode(errors="replace").split())
        reason = complaint or f"exit status {process.returncode}"
        raise StorageError(
            f"{path}: ffmpeg cannot write the file ({reason}); check the disk and ffmpeg's encoders"
        )
    with writing_to(path.parent, OTHER_OUT):
        partial.replace(path)


def _command(out: Path, container: str, size: tuple[int, int], fps: int) -> list[str]:
    frame_size = f"{size[1]}x{size[0]}"
    codec = MPEG4 if container == "avi" else X264
    return [
        *(find_program("ffmpeg"), "-nostdin", "-v", "error", "-y"),
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", frame_size, "-r", str(fps)),
        *("-i", "pipe:0", "-an", *codec, "-threads", "1"),
        *("-flags", "+bitexact", "-fflags", "+bitexact", "-map_metadata", "-1"),
        *("-f", MUXERS[container], str(out)),
    ]
