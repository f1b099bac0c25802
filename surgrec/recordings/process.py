"""ffmpeg and ffprobe as subprocesses with limits, whose log is read while they run."""

import collections
import contextlib
import errno
import fcntl
import functools
import os
import queue
import re
import resource
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from surgrec.errors import MachineError, SetupError
from surgrec.recordings._recording import BadVideoError

MEMORY_BYTES = 4 << 30
"""Address space of one ffmpeg: enough for 8K video."""
STALL_S = 600.0
"""Longest time without progress."""
COMPLAINT_BYTES = 256 << 20
"""Most text that one ffmpeg may write to its log."""
FILE_BYTES = 16 << 30
"""Largest file that one ffmpeg may write."""
_PIPE_BYTES = 1 << 20
"""Size of the pipes of pictures, of their times and of the log."""
_LOG_PIECE = 4096
"""Bytes of the log for which its reader waits a moment."""
_LOG_PAUSE_S = 0.005
_LONGEST_LINE = 1 << 16
"""Bytes after which a line of the log is cut."""
_TICK_S = 0.1

_CRASHES = frozenset((signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL))
_STOPPED = 255
"""Exit status of ffmpeg after SIGINT or SIGTERM, which it handles."""
_NOT_LOADED = 127
"""Exit status of a program whose libraries cannot be loaded."""
_EXHAUSTED = (errno.ENOMEM, errno.EAGAIN, errno.EMFILE, errno.ENFILE)
_DISK_FULL = {os.strerror(number): number for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)}
_NO_MEMORY = (os.strerror(errno.ENOMEM), "malloc of size", "Out of memory")
_NO_MEMORY_TO_LOAD = (os.strerror(errno.ENOMEM), "failed to map segment")
_READ_FAILURES = tuple(
    os.strerror(number)
    for number in (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.EREMOTEIO, errno.ENODEV),
        *(errno.ENOTCONN, errno.EHOSTDOWN, errno.ECONNRESET, errno.ENODATA),
    )
)
"""Errors of a disk or a network on which a file cannot be read for now."""
_GXF_END = os.strerror(errno.EPERM)
"""Message of the demuxer of GXF at the end of a whole file."""
_LEVEL = re.compile(
    r"(?:\[[^\]]* @ 0x[0-9a-f]+\] )*(?:x26[45] )?\[(?P<level>[a-z]+)\]:? ?(?P<text>.*)"
)
_ENTRY = re.compile(rb"(?:\[[^\]]* @ 0x[0-9a-f]+\] )*(?:x26[45] )?\[info\]:? ?")
_DECODED = re.compile(rb"decoder -> .*?(?:best_effort_ts|(?<!_)pts):(\S+) .*time_base:(\d+)/(\d+)")
_NO_TIME = (b"NOPTS", b"-9223372036854775808")
_DEMUXED = re.compile(r" *Input stream #0:(\d+) \(video\): (\d+) packets read \((\d+) bytes\)")


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


@contextlib.contextmanager
def starting(program: str) -> Iterator[None]:
    """Turn a failure to start a program inside the `with` block into one sentence.

    Raises:
        MachineError: Memory, processes, threads or open files ran out.
        SetupError: The program cannot be run.
    """
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        reason = (error.strerror if isinstance(error, OSError) else str(error)) or "no memory"
        if isinstance(error, OSError) and error.errno not in _EXHAUSTED:
            raise SetupError(
                f"{program} cannot be started ({reason}); install ffmpeg again "
                "(Debian, Ubuntu: apt-get install ffmpeg)"
            ) from error

        raise MachineError(
            f"{program} cannot be started because the machine ran out of memory, processes or open "
            f"files ({reason}); use fewer --workers or --processes, and run the same command again"
        ) from error


def enlarge_pipe(descriptor: int) -> None:
    """Make a pipe larger: fewer changes between processes. A user's limit may forbid it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


class FfmpegProcess:
    """A running ffmpeg or ffprobe with limits on memory, on time without progress, and on output.

    Use it in a `with` block; at its end the process is gone.

    Args:
        program: `ffmpeg` or `ffprobe`.
        arguments: Its arguments.
        descriptors: Descriptors that the process inherits.
        folder: Its working folder.
        is_fed: Whether `write` feeds it; else its standard output is read.
        stdin: Of a process that is not fed: descriptor of its standard input.

    Raises:
        MachineError: Memory, processes, threads or open files ran out.
        SetupError: The program is not installed, or cannot be run.
    """

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        *,
        descriptors: Sequence[int] = (),
        folder: Path | None = None,
        is_fed: bool = False,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self._program = program
        words = [find_program(program), *arguments]
        with starting(program), contextlib.ExitStack() as undo:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE if is_fed else stdin,
                stdout=subprocess.DEVNULL if is_fed else subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                cwd=folder,
                umask=0o077,
            )

            # From here on, a failure ends the process.
            undo.callback(self._end)
            self._limit(resource.RLIMIT_AS, MEMORY_BYTES)
            self._file_bytes = self._limit(resource.RLIMIT_FSIZE, FILE_BYTES)
            enlarge_pipe((self.stdin if is_fed else self.stdout).fileno())
            self.log = ComplaintLog(self._process)
            undo.pop_all()

    def _limit(self, kind: int, limit: int) -> int:
        """Set a limit of the process, unless a smaller one holds. Return the one that holds."""
        own = resource.getrlimit(kind)
        soft, hard = (limit if value < 0 else min(value, limit) for value in own)  # -1: unlimited
        with contextlib.suppress(ProcessLookupError):  # it has already ended
            resource.prlimit(self._process.pid, kind, (soft, hard))
        return soft

    def __enter__(self) -> "FfmpegProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self.log.join()

    def kill(self) -> None:
        """End the process at once; another thread may read its output."""
        self._process.kill()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    @property
    def stdin(self) -> IO[bytes]:
        """Return the pipe of its standard input."""
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Return the pipe of its standard output."""
        assert self._process.stdout is not None
        return self._process.stdout

    def read_some(
        self, descriptor: int, size: int, meanwhile: Callable[[], bool] = lambda: False
    ) -> bytes:
        """Return up to `size` bytes of a pipe as soon as there are any; none at its end.

        Args:
            descriptor: The pipe.
            size: Most bytes.
            meanwhile: Is called again and again. Returns whether it saw progress.

        Raises:
            BadVideoError: No output and no progress for too long.
        """
        deadline = time.monotonic() + STALL_S
        while not select.select([descriptor], [], [], _TICK_S)[0]:
            if meanwhile():
                deadline = time.monotonic() + STALL_S
            elif time.monotonic() > deadline:
                raise self._stalled()
        return os.read(descriptor, size)

    def write(self, data: bytes) -> None:
        """Write data to its standard input.

        Raises:
            BrokenPipeError: The process has ended.
            BadVideoError: The process takes no input for too long.
        """
        descriptor, rest = self.stdin.fileno(), memoryview(data)
        os.set_blocking(descriptor, False)
        while rest:
            deadline = time.monotonic() + STALL_S
            while not select.select([], [descriptor], [], 1.0)[1]:
                if time.monotonic() > deadline:
                    raise self._stalled()
            rest = rest[os.write(descriptor, rest) :]

    def wait(self) -> int:
        """Wait for the end of the process and return its exit status. Judge all but the status.

        Raises:
            BadVideoError: The process does not end, or needs too much memory, or writes too much.
            SetupError: It was stopped by a signal, or cannot be loaded.
            OSError: The disk is full.
        """
        try:
            status = self._process.wait(STALL_S)
        except subprocess.TimeoutExpired:
            raise self._stalled() from None
        self.log.join()
        log, name = self.log, self._program

        if log.is_too_long:
            raise BadVideoError("absurd", f"{name} complains about the file without end")
        if log.lacks_memory or status == -signal.SIGKILL:
            raise BadVideoError(
                "out_of_memory",
                f"{name} ran out of memory on the file; give it up to {MEMORY_BYTES >> 30} GiB, "
                "use fewer --workers or --processes, and run the same command again",
                may_pass=True,
            )
        if log.disk_failure:
            raise OSError(log.disk_failure, os.strerror(log.disk_failure))
        if status == -signal.SIGXFSZ:
            if self._file_bytes < FILE_BYTES:  # a limit of the user
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
            raise BadVideoError("absurd", f"a clip has more than {FILE_BYTES / 1e9:.3g} GB")
        if status == _NOT_LOADED:
            raise SetupError(
                f"{name} cannot be started ({log.reason()}); install ffmpeg again "
                "(Debian, Ubuntu: apt-get install ffmpeg)"
            )
        if (status < 0 and -status not in _CRASHES) or status == _STOPPED:
            raise SetupError(f"{name} was stopped by a signal; run the same command again")
        return status

    def _stalled(self) -> BadVideoError:
        return BadVideoError(
            "stalled",
            f"{self._program} made no progress for {STALL_S:g} s; check the disk of the file, "
            "and run the same command again",
            may_pass=True,
        )


class Feeder:
    """Writes data to the standard input of a process, from a thread.

    The process is started with `stdin=feeder.reading`; then `start` is called.

    Args:
        chunks: The data. An iterator may raise BadVideoError.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self.failure: BadVideoError | None = None
        """Why the data is not complete, known after `join`."""
        self.reading, self._writing = os.pipe()
        self._thread = threading.Thread(target=self._write, daemon=True)

    def start(self) -> None:
        """Begin to write. The process has the only reading end now."""
        os.close(self.reading)
        self.reading = -1
        self._thread.start()

    def join(self) -> None:
        """Wait until all is written, or the process reads no more."""
        if self.reading >= 0:  # the process did not start
            os.close(self.reading)
            os.close(self._writing)
        elif self._thread.ident is not None:
            self._thread.join()

    def _write(self) -> None:
        try:
            with os.fdopen(self._writing, "wb") as pipe:
                for chunk in self._chunks:
                    pipe.write(chunk)
        except BrokenPipeError:
            pass
        except BadVideoError as error:
            self.failure = error


class DecodedFrom(NamedTuple):
    """A decoded picture, as the log tells."""

    container_us: int | None
    """Its time by the container's clock, microseconds; None: it has no time."""
    is_corrupt: bool
    """Whether its data is damaged."""
    follows_error: bool
    """Whether the decoder complained since the picture before."""


class ComplaintLog:
    """The log of an ffmpeg, read by a thread while the process runs.

    Args:
        process: The process, with a pipe as its standard error.
    """

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.errors = 0
        """Number of complaints about damage."""
        self.loses_sync = False
        """Whether the demuxer of MPEG transport streams gave up on unreadable bytes."""
        self.ends_early = False
        """Whether a demuxer found that the end of the file is missing."""
        self.demuxed: dict[int, tuple[int, int]] = {}
        """Packets and bytes that were read of each video stream, if ffmpeg tells them."""

        self.read_failure = ""
        self.disk_failure = 0
        """Error number of a full disk."""
        self.lacks_memory = False
        self.is_too_long = False

        self._first: collections.Counter[str] = collections.Counter()
        self.num_decoded = 0
        """Number of decoded pictures, if ffmpeg tells them."""
        self.complains_at_end = False
        """Whether the decoder complained behind the last picture, known at the end."""
        self._decoded: queue.SimpleQueue[DecodedFrom | None] = queue.SimpleQueue()
        self._is_corrupt, self._told = False, 0

        self._process = process
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the log."""
        self._thread.join()

    def next_decoded(self) -> DecodedFrom | None:
        """Return the entry of the log about the next decoded picture; None at its end. Waits.

        ffmpeg writes such entries with its option `-debug_ts`.
        """
        return self._decoded.get()

    def reason(self, file: str = "") -> str:
        """Return the first two distinct complaints, without addresses and the file's name."""
        lines = [(line.replace(file, "") if file else line).strip(" :") for line in self._first]
        return "; ".join([line for line in lines if line][:2]) or "no reason given"

    def _read(self) -> None:
        total = 0
        for raw in self._lines():
            if b"[info]" in raw and self._take_entry(raw):
                continue
            total += len(raw)
            if total > COMPLAINT_BYTES and not self.is_too_long:
                self.is_too_long = True
                self._process.kill()
            self._take(raw.decode("utf-8", errors="replace"))
        self.complains_at_end = self.errors > self._told
        self._decoded.put(None)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines of the log. ffmpeg writes each in several pieces."""
        stderr = self._process.stderr
        assert stderr is not None
        enlarge_pipe(stderr.fileno())
        with stderr:
            rest = b""
            while chunk := os.read(stderr.fileno(), _LONGEST_LINE):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from lines
                if len(rest) > _LONGEST_LINE:
                    yield rest
                    rest = b""
                # Fewer and larger pieces need fewer changes between processes.
                if len(chunk) < _LOG_PIECE:
                    time.sleep(_LOG_PAUSE_S)
            if rest:
                yield rest

    def _take_entry(self, raw: bytes) -> bool:
        """Take a line that is no complaint. Complaints about a picture come before its entry."""
        found = _ENTRY.match(raw)
        if found is not None and (picture := _DECODED.match(raw, found.end())):
            time, *base = picture.groups()
            self._put_decoded(
                None if time in _NO_TIME else _microseconds(int(time), *map(int, base))
            )
        return found is not None

    def _put_decoded(self, container_us: int | None) -> None:
        follows_error, self._told = self.errors > self._told, self.errors
        self.num_decoded += 1
        self._decoded.put(DecodedFrom(container_us, self._is_corrupt, follows_error))
        self._is_corrupt = False

    def _take(self, line: str) -> None:
        """Take a line. Only its level tells a complaint from text that is in the file."""
        found = _LEVEL.match(line)
        level, text = found.group("level", "text") if found else ("", line.strip())

        if level in ("warning", "error", "fatal", "panic"):
            self._is_corrupt |= "corrupt decoded frame" in text
            self.ends_early |= "File ended prematurely" in text or "partial file" in text
            self.loses_sync |= "max resync size reached" in text

        if level in ("error", "fatal", "panic"):
            self._take_error(text.strip())
        elif level == "verbose" and (packets := _DEMUXED.match(text)):
            stream, count, size = map(int, packets.groups())
            self.demuxed[stream] = count, size
        elif "error while loading shared libraries" in line:
            self.lacks_memory |= any(words in line for words in _NO_MEMORY_TO_LOAD)
            self._first[line[:400]] += 1

    def _take_error(self, text: str) -> None:
        self.errors += not text.endswith(_GXF_END)
        self.lacks_memory |= any(words in text for words in _NO_MEMORY)
        failure = next((words for words in _READ_FAILURES if text.endswith(words)), "")
        self.read_failure = self.read_failure or failure
        full = next((number for words, number in _DISK_FULL.items() if words in text), 0)
        self.disk_failure = self.disk_failure or full
        if len(self._first) < 16:
            self._first[text[:400]] += 1


def _microseconds(units: int, numerator: int, denominator: int) -> int:
    """Return a time in units of a fraction of a second in microseconds, rounded as ffmpeg does."""
    twice = 2 * abs(units) * numerator * 1_000_000
    rounded = (twice + denominator) // (2 * denominator)
    return rounded if units >= 0 else -rounded
