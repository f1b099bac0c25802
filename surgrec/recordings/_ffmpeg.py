"""ffmpeg and ffprobe as subprocesses, run on files that may be hostile."""

import collections
import contextlib
import errno
import functools
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from typing import IO

from surgrec.errors import SetupError
from surgrec.recordings._recording import BadVideoError, Recording

# Demuxers of video files. Playlists (hls, concat), images, text and network formats are excluded:
# opening a file that claims to be a video must never open a second file.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,asf,mpeg,mpegts,mpegvideo,mxf,flv,ogg,dv,"
    "h264,hevc,m4v,gxf,nut,ivf,obu,yuv4mpegpipe,mjpeg,jpeg_pipe,rm,dhav,wtv"
)
_INPUT_LIMITS = ("-protocol_whitelist", "file", "-format_whitelist", _CONTAINERS)

MEMORY_BYTES = 4 << 30
"""Address space of one ffmpeg: enough for 8K video."""
STALL_S = 600.0
"""Longest time without output."""
COMPLAINT_BYTES = 256 << 20
"""Most text that one ffmpeg may write to its log."""
OUTPUT_BYTES = 4 << 30
"""Most text about one recording: that of 30,000,000 packets."""
_READ_BYTES = 1 << 18

_CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
STOPPED = 255
"""Exit status of ffmpeg after SIGINT or SIGTERM, which it handles."""
_DISK_FULL = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
_NO_MEMORY = (os.strerror(errno.ENOMEM), "malloc of size", "Out of memory")
_READ_FAILURES = tuple(
    os.strerror(number)
    for number in (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.EREMOTEIO, errno.ENODEV),
        *(errno.ENOTCONN, errno.EHOSTDOWN, errno.ECONNRESET, errno.ENODATA),
    )
)
"""What a disk or a network says when a file cannot be read for now."""


class FfmpegError(Exception):
    """ffmpeg or ffprobe refused a file. The text is its last complaint, without the file's name."""


def run_ffprobe(recording: Recording, arguments: Sequence[str]) -> str:
    """Return the output of ffprobe about a recording.

    Raises:
        FfmpegError: ffprobe cannot read the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    with Ffmpeg("ffprobe", recording, arguments) as process:
        output = process.read_all()
        process.finish()
    return output.decode("utf-8", errors="replace")


def run_ffmpeg(recording: Recording, input_options: Sequence[str], output: Sequence[str]) -> str:
    """Run ffmpeg on one input and return what it writes to its standard output.

    Args:
        recording: The input.
        input_options: Options before the input.
        output: Options after the input, and the output.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    with Ffmpeg("ffmpeg", recording, output, input_options=input_options) as process:
        text = process.read_all()
        process.finish()
    return text.decode("utf-8", errors="replace")


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


class Ffmpeg:
    """A running ffmpeg or ffprobe with limits on memory, on time without output, and on its log.

    Use it in a `with` block; at its end the process is gone.

    Args:
        program: `ffmpeg` or `ffprobe`.
        recording: The input.
        arguments: Options after the input, and the output.
        input_options: Options before the input.
        descriptors: Descriptors that the process inherits.
    """

    def __init__(
        self,
        program: str,
        recording: Recording,
        arguments: Sequence[str],
        *,
        input_options: Sequence[str] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        self._recording, self._program = recording, program
        options = ["-nostdin", "-y"] if program == "ffmpeg" else []
        words = [find_program(program), "-v", "level+warning", *options, *input_options]
        words += [*_INPUT_LIMITS, *recording.input_arguments(), *arguments]
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(recording.fileno(), *descriptors),
            umask=0o077,
        )
        with contextlib.suppress(ProcessLookupError):  # it has already ended
            limit = resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)
            resource.prlimit(self._process.pid, *limit)
        self.log = ComplaintLog(self._process)

    def __enter__(self) -> "Ffmpeg":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self.log.join()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    @property
    def stdout(self) -> IO[bytes]:
        """Return the pipe of its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout

    def chunks(self) -> Iterator[bytes]:
        """Yield its standard output as it comes.

        Raises:
            BadVideoError: No output for too long, or too much of it.
        """
        total = 0
        while chunk := self.read_some(self.stdout.fileno(), _READ_BYTES):
            yield chunk
            total += len(chunk)
            if total > OUTPUT_BYTES:
                raise BadVideoError("absurd", "the file lists too many packets for a recording")

    def read_all(self) -> bytes:
        """Return all of its standard output."""
        return b"".join(self.chunks())

    def read_some(self, descriptor: int, size: int) -> bytes:
        """Return up to `size` bytes of a pipe as soon as there are any; none at its end.

        Raises:
            BadVideoError: No output for too long.
        """
        deadline = time.monotonic() + STALL_S
        while not select.select([descriptor], [], [], 1.0)[0]:
            if time.monotonic() > deadline:
                raise BadVideoError(
                    "stalled",
                    f"ffmpeg made no progress for {STALL_S:g} s; check the disk of the file, "
                    "and run the same command again",
                    may_pass=True,
                )
        return os.read(descriptor, size)

    def finish(self) -> None:
        """Wait for the end of the process, and judge it.

        Raises:
            FfmpegError: It failed because of the file.
            BadVideoError: The file cannot be read for now, or needs too much memory.
            SetupError: It was stopped by a signal.
            OSError: The disk is full.
        """
        status = self._process.wait()
        self.log.join()
        log, name = self.log, self._program

        # A demuxer also says so where the end of the file is missing.
        if log.read_failure and not log.ends_early:
            raise BadVideoError(
                "read_error",
                f"the file could not be read to its end ({log.read_failure}); check its disk, and "
                "run the same command again",
                may_pass=True,
            )
        if log.is_too_long:
            raise BadVideoError("absurd", f"{name} complains about the file without end")
        if log.lacks_memory or status == -signal.SIGKILL:
            raise BadVideoError(
                "out_of_memory",
                f"{name} ran out of memory on the file; give it up to {MEMORY_BYTES >> 30} GiB, "
                "use fewer --workers, and run the same command again",
                may_pass=True,
            )

        # A crash is the fault of the file; another signal is the fault of the machine.
        if -status in _CRASHES:
            raise FfmpegError(f"{name} crashed on the file with signal {-status}")
        if status < 0 or status == STOPPED:
            raise SetupError(f"{name} was stopped by a signal; run the same command again")
        if status:
            raise FfmpegError(log.reason(self._recording))


class ComplaintLog:
    """The log of an ffmpeg, read by a thread while the process runs.

    Args:
        process: The process, with a pipe as its standard error.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.errors = 0
        """Number of complaints about damage."""
        self.corrupt_pictures = 0
        """Number of pictures that were decoded from damaged data so far."""
        self.loses_sync = False
        """Whether the demuxer of MPEG transport streams gave up on unreadable bytes."""
        self.ends_early = False
        """Whether a demuxer found that the end of the file is missing."""
        self.read_failure = ""
        self.lacks_memory = False
        self.is_too_long = False
        self._first: collections.Counter[str] = collections.Counter()
        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the log."""
        self._thread.join()

    def reason(self, recording: Recording) -> str:
        """Return the first two distinct complaints, without addresses and the file's name."""
        name = recording.input_arguments()[-1]
        lines = [line.replace(name, "").strip(" :") for line in self._first]
        return "; ".join([line for line in lines if line][:2]) or "no reason given"

    def _read(self) -> None:
        stderr = self._process.stderr
        assert stderr is not None
        total = 0
        while raw := stderr.readline(1 << 16):
            total += len(raw)
            if total > COMPLAINT_BYTES and not self.is_too_long:
                self.is_too_long = True
                self._process.kill()
            self._take(raw.decode("utf-8", errors="replace"))

    def _take(self, line: str) -> None:
        is_error = "[error]" in line or "[fatal]" in line or "[panic]" in line
        self.errors += is_error
        self.corrupt_pictures += "corrupt decoded frame" in line
        self.ends_early |= "File ended prematurely" in line or "partial file" in line
        self.loses_sync |= "max resync size reached" in line
        if is_error:
            text = re.sub(r"\[[^\]]*( @ 0x[0-9a-f]+|error|fatal|panic)\]\s*", "", line).strip()
            self.lacks_memory |= any(words in text for words in _NO_MEMORY)
            failure = next((words for words in _READ_FAILURES if text.endswith(words)), "")
            self.read_failure = self.read_failure or failure
            if len(self._first) < 16:
                self._first[text[:400]] += 1


def is_disk_full(text: str) -> OSError | None:
    """Return the error of a full disk if ffmpeg's log tells of one."""
    return next(
        (OSError(number, words) for words, number in _DISK_FULL.items() if words in text), None
    )
