"""ffmpeg and ffprobe as subprocesses, run on files that may be hostile."""

import errno
import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.recordings._recording import Recording

# Demuxers of video files. Playlists (hls, concat), images, text and network formats are excluded:
# opening a file that claims to be a video must never open a second file.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,asf,mpeg,mpegts,mpegvideo,mxf,flv,ogg,dv,"
    "h264,hevc,m4v,gxf,nut"
)
_INPUT_LIMITS = ("-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS)
_CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
_STOPPED = 255
"""Exit status of ffmpeg after SIGINT or SIGTERM, which it handles."""
_DISK_FULL = {"No space left on device": errno.ENOSPC, "Disk quota exceeded": errno.EDQUOT}


class FfmpegError(Exception):
    """ffmpeg or ffprobe refused a file. The text is its last complaint, without the file's name."""


def run_ffprobe(recording: Recording, arguments: Sequence[str]) -> str:
    """Return the output of ffprobe about a recording.

    Raises:
        FfmpegError: ffprobe cannot read the file.
    """
    command = [find_program("ffprobe"), "-v", "error", *arguments]
    return _run([*command, *_input_arguments(recording)], recording).stdout


def run_ffmpeg(
    recording: Recording, input_options: Sequence[str], output: Sequence[str], *, out: Path
) -> int:
    """Run ffmpeg on one input and return its number of complaints about damaged parts.

    Args:
        recording: The input.
        input_options: Options before the input.
        output: Options after the input, and the output. File names in it are relative to `out`.
        out: Folder in which ffmpeg runs. In absolute paths it would interpret `%` and `:`.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        OSError: The disk of `out` is full.
    """
    command = [find_program("ffmpeg"), "-v", "error", "-nostdin", "-y"]
    command += [*input_options, *_input_arguments(recording), *output]
    return len(_run(command, recording, out=out).stderr.splitlines())


@functools.cache
def find_program(name: str) -> str:
    """Return the path of ffmpeg or ffprobe.

    Raises:
        SetupError: The program is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise SetupError(
            f"{name} is not installed; install ffmpeg (Debian, Ubuntu: apt-get install ffmpeg)"
        )
    return os.path.abspath(path)


def _input_arguments(recording: Recording) -> list[str]:
    """Return arguments that open this recording and no other file, whatever its content."""
    return [*_INPUT_LIMITS, *recording.input_arguments()]


def _run(
    command: Sequence[str], recording: Recording, out: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd=out,
        pass_fds=(recording.fileno(),),
        umask=0o077,
    )
    for complaint, number in _DISK_FULL.items():
        if out is not None and complaint in done.stderr:
            raise OSError(number, complaint)

    # A crash is the fault of the file; another signal is the fault of the machine.
    name = Path(command[0]).name
    if -done.returncode in _CRASHES:
        raise FfmpegError(f"{name} crashed on the file with signal {-done.returncode}")
    if done.returncode < 0 or done.returncode == _STOPPED:
        raise SetupError(
            f"{command[0]} was stopped by a signal; if memory ran out, use fewer --workers, and "
            "run the same command again"
        )
    if done.returncode:
        raise FfmpegError(_complaint(done.stderr, recording))
    return done


def _complaint(stderr: str, recording: Recording) -> str:
    """Return the first two distinct lines of stderr, without addresses and the file's name."""
    file = recording.input_arguments()[-1]
    lines = [re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", line) for line in stderr.splitlines()]
    lines = [line.replace(file, "").strip(" :") for line in lines]
    return "; ".join(list(dict.fromkeys(line for line in lines if line))[:2]) or "no reason given"
