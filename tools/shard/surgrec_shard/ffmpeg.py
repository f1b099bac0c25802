"""ffmpeg and ffprobe as subprocesses: finding them, their versions, and running them on files that may be hostile."""

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

# Demuxers of video files. Playlists (hls, concat), images, text and network formats are left out: opening a file
# that claims to be a video must never open a second one.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,asf,mpeg,mpegts,mpegvideo,mxf,flv,ogg,dv,h264,hevc,m4v,gxf,nut"
_INPUT_LIMITS = ("-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS)
_CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
_STOPPED = 255  # ffmpeg catches SIGINT and SIGTERM, and then leaves with this status


class FfmpegError(Exception):
    """ffmpeg or ffprobe refused a file; the text is its last complaint, without the file's name."""


def input_arguments(path: Path) -> list[str]:
    """Arguments that open a video file and nothing else, whatever its name or content."""
    return [*_INPUT_LIMITS, "-i", f"file:{path.resolve()}"]


def run_ffprobe(path: Path, arguments: Sequence[str]) -> str:
    """What ffprobe prints about a file.

    Raises:
        FfmpegError: ffprobe cannot read the file.
    """
    return _run([tool("ffprobe"), "-v", "error", *arguments, *input_arguments(path)], path).stdout


def run_ffmpeg(
    path: Path, input_options: Sequence[str], output: Sequence[str], *, out: Path
) -> int:
    """Runs ffmpeg on one input; gives the number of complaints about damaged parts that it decoded around.

    It runs in the folder `out`, so names in `output` can be relative: in a path, `%` and `:` would mean something to it.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        StorageError: The disk that holds `out` is full.
    """
    command = [
        tool("ffmpeg"),
        "-v",
        "error",
        "-nostdin",
        "-y",
        *input_options,
        *input_arguments(path),
        *output,
    ]
    return len(_run(command, path, out=out).stderr.splitlines())


@functools.cache
def tool(name: str) -> str:
    """Path of ffmpeg or ffprobe.

    Raises:
        SetupError: It is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise SetupError(
            f"{name} is not installed; install ffmpeg (Debian, Ubuntu: apt-get install ffmpeg) and try again"
        )
    return os.path.abspath(path)


@functools.cache
def encoder_versions() -> dict[str, str]:
    """Versions of ffmpeg and of its x264, as the encoded bytes depend on them.

    Raises:
        SetupError: ffmpeg is missing, or was built without x264.
    """
    banner = subprocess.run(
        [tool("ffmpeg"), "-version"], capture_output=True, text=True, check=True
    ).stdout
    ffmpeg = re.search(r"ffmpeg version (\S+)", banner)
    probe = subprocess.run(
        [
            tool("ffmpeg"),
            "-v",
            "error",
            "-nostdin",
            "-f",
            "lavfi",
            "-i",
            "color=size=64x64:duration=0.04:rate=25",
        ]
        + ["-c:v", "libx264", "-f", "h264", "-"],
        capture_output=True,
        check=False,
    )
    x264 = re.search(rb"x264 - core (\d+( r\d+ \w+)?)", probe.stdout)
    if ffmpeg is None or x264 is None:
        raise SetupError(
            f"{tool('ffmpeg')} cannot encode with libx264; install an ffmpeg that was built with it"
        )
    return {"ffmpeg": ffmpeg.group(1), "x264": x264.group(1).decode("ascii")}


def _run(
    command: Sequence[str], path: Path, out: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, cwd=out
    )
    if out is not None and (
        "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr
    ):
        raise disk_full(out.parent)
    if -done.returncode in _CRASHES:
        raise FfmpegError(f"{Path(command[0]).name} crashed on it with signal {-done.returncode}")
    if done.returncode < 0 or done.returncode == _STOPPED:
        raise SetupError(
            f"{command[0]} was stopped by a signal (out of memory?); use fewer --workers and run the same command again"
        )
    if done.returncode:
        raise FfmpegError(_complaint(done.stderr, path))
    return done


def _complaint(stderr: str, path: Path) -> str:
    """The first two different lines that ffmpeg wrote, without addresses and without the file's name."""
    lines = [re.sub(r"\[[^\]]*@ 0x[0-9a-f]+\]\s*", "", line) for line in stderr.splitlines()]
    bare = [
        line.replace(f"file:{path.resolve()}", "").replace(str(path), "").strip(" :")
        for line in lines
    ]
    return "; ".join(list(dict.fromkeys(line for line in bare if line))[:2]) or "no reason given"
