"""ffmpeg and ffprobe as subprocesses, run on files that may be hostile."""

import functools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from surgrec.errors import SetupError
from surgrec_shard.disk import disk_full

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


class FfmpegError(Exception):
    """ffmpeg or ffprobe refused a file. The text is its last complaint, without the file's name."""


def input_arguments(path: Path) -> list[str]:
    """Return arguments that open this video file and no other, whatever its name or content."""
    return [*_INPUT_LIMITS, "-i", f"file:{path.resolve()}"]


def run_ffprobe(path: Path, arguments: Sequence[str]) -> str:
    """Return the output of ffprobe about a file.

    Raises:
        FfmpegError: ffprobe cannot read the file.
    """
    return _run([tool("ffprobe"), "-v", "error", *arguments, *input_arguments(path)], path).stdout


def run_ffmpeg(
    path: Path, input_options: Sequence[str], output: Sequence[str], *, out: Path
) -> int:
    """Run ffmpeg on one input and return its number of complaints about damaged parts.

    Args:
        path: The input file.
        input_options: Options before the input.
        output: Options after the input, and the output. File names in it are relative to `out`.
        out: Folder in which ffmpeg runs. In absolute paths it would interpret `%` and `:`.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        StorageError: The disk of `out` is full.
    """
    command = [tool("ffmpeg"), "-v", "error", "-nostdin", "-y"]
    command += [*input_options, *input_arguments(path), *output]
    return len(_run(command, path, out=out).stderr.splitlines())


@functools.cache
def tool(name: str) -> str:
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


@functools.cache
def encoder_versions() -> dict[str, str]:
    """Return the versions of ffmpeg and of its x264, on which encoded bytes depend.

    Raises:
        SetupError: ffmpeg is not installed, or was built without x264.
    """
    banner = subprocess.run(
        [tool("ffmpeg"), "-version"], capture_output=True, text=True, check=True
    ).stdout
    ffmpeg = re.search(r"ffmpeg version (\S+)", banner)

    # x264 writes its version into the stream: encode one frame and search for it.
    frame = ["-f", "lavfi", "-i", "color=size=64x64:duration=0.04:rate=25"]
    stream = subprocess.run(
        [tool("ffmpeg"), "-v", "error", "-nostdin", *frame, "-c:v", "libx264", "-f", "h264", "-"],
        capture_output=True,
        check=False,
    ).stdout
    x264 = re.search(rb"x264 - core (\d+( r\d+ \w+)?)", stream)

    if ffmpeg is None or x264 is None:
        raise SetupError(
            f"{tool('ffmpeg')} cannot encode with libx264; install an ffmpeg that includes it"
        )
    return {"ffmpeg": ffmpeg.group(1), "x264": x264.group(1).decode("ascii")}


def _run(
    command: Sequence[str], path: Path, out: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=out
    )
    is_full = "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr
    if out is not None and is_full:
        raise disk_full(out.parent)

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
        raise FfmpegError(_complaint(done.stderr, path))
    return done


def _complaint(stderr: str, path: Path) -> str:
    """Return the first two distinct lines of stderr, without addresses and the file's name."""
    lines = [re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", line) for line in stderr.splitlines()]
    lines = [
        line.replace(f"file:{path.resolve()}", "").replace(str(path), "").strip(" :")
        for line in lines
    ]
    return "; ".join(list(dict.fromkeys(line for line in lines if line))[:2]) or "no reason given"
