"""Clips: frames become mp4 files, through one process of ffmpeg per uninterrupted stretch."""

import csv
import errno
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.recordings import STOPPED, BadVideoError, find_program

_SEGMENTS_FILE = "segments.csv"


@dataclass(frozen=True, kw_only=True)
class EncodedClip:
    """One clip of a video, as a file. Times in seconds of the video."""

    file: str
    start_s: float
    duration_s: float
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """What an encoder must know about raw frames."""

    width: int
    height: int
    rate: Fraction
    """Frames per second."""
    colors: tuple[str, ...]
    """Options of ffmpeg's filter `setparams` that describe the colors."""


class ClipWriter:
    """Writes the clips of one stretch of a video. Use it in a `with` block.

    Args:
        folder: Folder of the clips.
        frames: The format of the frames.
        encoding: ffmpeg's options of the encoder.
        clip_s: Seconds per clip.
        first_frame: Number of the stretch's first frame in the video.
        first_clip: Number of the stretch's first clip.
    """

    def __init__(
        self,
        folder: Path,
        frames: FrameFormat,
        encoding: list[str],
        *,
        clip_s: float,
        first_frame: int,
        first_clip: int,
    ) -> None:
        self._folder, self._frames = folder, frames
        self._first_frame = first_frame
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the writer
        self._process = subprocess.Popen(
            [
                *(find_program("ffmpeg"), "-v", "error", "-nostdin", "-y"),
                *("-f", "rawvideo", "-pix_fmt", "yuv420p"),
                *("-s", f"{frames.width}x{frames.height}", "-framerate", str(frames.rate)),
                *("-i", "pipe:0", *_output(frames, encoding, clip_s, first_clip)),
            ],
            stdin=subprocess.PIPE,
            stderr=self._log,
            cwd=folder,
            umask=0o077,
        )

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._log.close()

    def write(self, data: bytes, count: int) -> None:
        """Write one picture as `count` frames.

        Raises:
            OSError: The disk is full.
        """
        assert self._process.stdin is not None
        try:
            for _ in range(count):
                self._process.stdin.write(data)
        except BrokenPipeError:
            self._process.wait()
            self._judge()

    def close(self) -> list[EncodedClip]:
        """Finish the stretch and return its clips.

        Raises:
            OSError: The disk is full.
        """
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()
        self._judge()
        return self._clips()

    def _judge(self) -> None:
        """Raise the reason of a process that has failed. It is never the fault of the video."""
        self._log.seek(0)
        log = self._log.read(1 << 16).decode("utf-8", errors="replace")
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(number) in log:
                raise OSError(number, os.strerror(number))
        status = self._process.returncode
        if status == -signal.SIGKILL:
            raise BadVideoError(
                "out_of_memory",
                "the encoder was killed, perhaps because memory ran out; use fewer --workers, and "
                "run the same command again",
                may_pass=True,
            )
        if status < 0 or status == STOPPED:
            raise SetupError("ffmpeg was stopped by a signal; run the same command again")
        if status:
            reason = " ".join(log.split()) or f"exit status {status}"
            raise SetupError(f"ffmpeg cannot encode ({reason}); check its encoders")

    def _clips(self) -> list[EncodedClip]:
        """Read ffmpeg's list of segments, whose times give exact numbers of frames."""
        rate = self._frames.rate
        with (self._folder / _SEGMENTS_FILE).open(newline="", encoding="utf-8") as file:
            rows = [
                (row[0], round(float(row[1]) * rate), round(float(row[2]) * rate))
                for row in csv.reader(file)
            ]
        return [
            EncodedClip(
                file=name,
                start_s=round(float((self._first_frame + start) / rate), 6),
                duration_s=round(float((end - start) / rate), 6),
                num_frames=end - start,
            )
            for name, start, end in rows
        ]


def _output(frames: FrameFormat, encoding: list[str], clip_s: float, first_clip: int) -> list[str]:
    colors = ":".join(("range=tv", *frames.colors))
    return [
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact"),
        *("-vf", f"setparams={colors},setsar=1", "-pix_fmt", "yuv420p", "-fps_mode", "passthrough"),
        *encoding,
        *("-force_key_frames", f"expr:gte(t,n_forced*{clip_s!r})"),
        *("-f", "segment", "-segment_time", repr(clip_s), "-reset_timestamps", "1"),
        *("-segment_start_number", str(first_clip)),
        *("-segment_list", _SEGMENTS_FILE, "-segment_list_type", "csv"),
        *("-segment_format", "mp4", "-segment_format_options", "movflags=+faststart", "%06d.mp4"),
    ]
