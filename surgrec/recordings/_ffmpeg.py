"""ffmpeg and ffprobe that read a recording, which may be hostile."""

import contextlib
from collections.abc import Iterator, Sequence

from surgrec.recordings._recording import BadVideoError, Part
from surgrec.recordings.process import Feeder, FfmpegProcess, starting

# Demuxers of video files. Playlists (hls, concat), images, text and network formats are excluded:
# opening a file that claims to be a video must never open a second file.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,asf,mpeg,mpegts,mpegvideo,mxf,flv,ogg,dv,"
    "h264,hevc,m4v,gxf,nut,ivf,obu,yuv4mpegpipe,mjpeg,jpeg_pipe,rm,dhav,wtv"
)
_INPUT_LIMITS = ("-format_whitelist", _CONTAINERS)

OUTPUT_BYTES = 4 << 30
"""Most text about one recording: that of 30,000,000 packets."""
_READ_BYTES = 1 << 18
_UNATTENDED = ("-nostdin", "-nostats", "-y")


class FfmpegError(Exception):
    """ffmpeg or ffprobe refused a file. The text is its last complaint, without the file's name."""


def run_ffprobe(part: Part, arguments: Sequence[str]) -> str:
    """Return the output of ffprobe about a recording.

    Raises:
        FfmpegError: ffprobe cannot read the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    with Ffmpeg("ffprobe", part, arguments) as process:
        output = process.read_all()
        process.finish()
    return output.decode("utf-8", errors="replace")


def run_ffmpeg(part: Part, input_options: Sequence[str], output: Sequence[str]) -> str:
    """Run ffmpeg on one input and return its standard output.

    Args:
        part: The input.
        input_options: Options before the input.
        output: Options after the input, and the output.

    Raises:
        FfmpegError: ffmpeg cannot decode the file.
        BadVideoError: The file cannot be read for now, or needs too much memory or time.
    """
    with Ffmpeg("ffmpeg", part, output, input_options=input_options) as process:
        text = process.read_all()
        process.finish()
    return text.decode("utf-8", errors="replace")


class Ffmpeg(FfmpegProcess):
    """A running ffmpeg or ffprobe that reads a recording and writes to its standard output.

    Args:
        program: `ffmpeg` or `ffprobe`.
        part: The input.
        arguments: Options after the input, and the output.
        input_options: Options before the input.
        more_inputs: Options before further inputs, which are the same recording.
        descriptors: Descriptors that the process inherits.
        counts_packets: Whether its log tells how many packets were read.
    """

    def __init__(
        self,
        program: str,
        part: Part,
        arguments: Sequence[str],
        *,
        input_options: Sequence[str] = (),
        more_inputs: Sequence[Sequence[str]] = (),
        descriptors: Sequence[int] = (),
        counts_packets: bool = False,
    ) -> None:
        self._part = part
        options = ["-v", "level+verbose" if counts_packets else "level+warning"]
        options += ["-hide_banner", *(_UNATTENDED if program == "ffmpeg" else ())]
        for before in (input_options, *more_inputs):
            options += [*before, *_INPUT_LIMITS, *part.input_arguments()]
        options += arguments
        descriptors = (*part.descriptors, *descriptors)
        data = part.feed()
        if data is None:
            self._feeder = None
            super().__init__(program, options, descriptors=descriptors)
            return

        with starting(program), contextlib.ExitStack() as undo:
            self._feeder = Feeder(data)
            undo.callback(self._feeder.join)
            stdin = self._feeder.reading
            super().__init__(program, options, descriptors=descriptors, stdin=stdin)
            undo.callback(super().__exit__)
            self._feeder.start()
            undo.pop_all()

    def __enter__(self) -> "Ffmpeg":
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        if self._feeder is not None:
            self._feeder.join()

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

    def finish(self) -> None:
        """Wait for the end of the process, and judge it.

        Raises:
            FfmpegError: It failed because of the file.
            BadVideoError: The file cannot be read for now, has changed, or needs too much memory.
            SetupError: It was stopped by a signal, or cannot be loaded.
        """
        status = self.wait()
        if self._feeder is not None:
            self._feeder.join()
            if self._feeder.failure is not None:
                raise self._feeder.failure
        # A demuxer also says so where the end of the file is missing.
        if self.log.read_failure and not self.log.ends_early:
            raise read_error(self.log.read_failure)

        # A crash is the fault of the file; another signal is the fault of the machine.
        if status < 0:
            raise FfmpegError(f"{self._program} crashed on the file with signal {-status}")
        if status:
            raise FfmpegError(self.log.reason(self._part.input_arguments()[-1]))


def read_error(finding: str) -> BadVideoError:
    """Return the error for a file that could not be read, which may pass."""
    return BadVideoError(
        "read_error",
        f"the file could not be read to its end ({finding}); check its disk, and run the same "
        "command again",
        may_pass=True,
    )
