"""Recordings whose pictures show their own time, and what a build would store of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from surgrec_shard.sampling import Missing, Sampler, picture_rate

from surgrec.recordings import (
    BadVideoError,
    PictureReader,
    Recording,
    RecordingFacts,
    inspect,
    read_frames,
)
from surgrec.recordings.picture_files import PictureFiles, open_recording
from tests.support.tool import ffmpeg

WIDTH, HEIGHT = 128, 64
_BITS = 16
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2", "-g", "12")
CODECS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys((".mkv", ".mp4", ".mov", ".flv", ".ts", ".m2ts", ".3gp"), X264),
    ".avi": ("-c:v", "mpeg4", "-q:v", "3", "-g", "25"),
    ".mpg": MPEG2,
    ".mxf": (*MPEG2, "-bf", "2"),
    ".webm": ("-c:v", "libvpx", "-b:v", "500k", "-g", "25"),
    ".wmv": ("-c:v", "wmv2", "-b:v", "1M", "-g", "25"),
    ".ogv": ("-c:v", "libtheora", "-q:v", "8", "-g", "25"),
}
"""Options of ffmpeg that encode a recording of each container."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What a build would store of a recording."""

    facts: RecordingFacts
    seconds: float
    """Length of all frames."""
    end_s: float
    late_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    """Of each frame, the time that it shows minus the time for which it stands."""
    missing: list[Missing]
    pictures: int
    """Distinct pictures among the frames."""
    complaints: int
    """Number of damaged places that the decoder skipped."""

    @property
    def largest_error_s(self) -> float:
        """Return the largest distance of a frame from its own time."""
        return float(np.abs(self.late_s).max())


def record_clock(
    path: Path,
    *,
    seconds: float,
    rate: float = 25,
    start_s: float = 0.0,
    size: str = f"{WIDTH}x{HEIGHT}",
    filters: str = "",
    arguments: Sequence[str] = (),
    inputs: Sequence[str] = (),
    before: str = "",
) -> Path:
    """Record a clock: 16 stripes, of which stripe k is bit k of the time in 1/100 s.

    Args:
        path: The file; its suffix selects container and codec.
        seconds: Length.
        rate: Pictures per second.
        start_s: Time that the first picture shows.
        size: Width and height of the picture.
        filters: Filters after the clock, such as `,setsar=2`.
        arguments: Options of the output.
        inputs: Options that add inputs.
        before: Filters before the clock, such as a selection of pictures, with a comma behind.
    """
    bit = f"bitand(round((T+{start_s})*100),pow(2,floor(X*{_BITS}/W)))"
    clock = f"{before}geq=lum='if({bit},235,16)':cb=128:cr=128{filters}"
    gray = f"color=gray:size={size}:rate={rate}"
    codec = () if "-c:v" in arguments or "-c:v:0" in arguments else CODECS[path.suffix]
    ffmpeg(
        *("-f", "lavfi", "-t", seconds, "-i", gray, *inputs, "-vf", clock, "-pix_fmt", "yuv420p"),
        *(*codec, *arguments, path),
    )
    return path


def stored_of(path: Path, fps: float = 8.0, pictures: PictureFiles | None = None) -> Stored:
    """Return what a build would store of a recording, without encoding it.

    Args:
        path: The recording.
        fps: Frames stored per second; 0: all.
        pictures: The pictures, if the recording is given as such.

    Raises:
        BadVideoError: The recording cannot be used.
    """
    with open_recording(path, pictures) as recording:
        facts = inspect(recording)
        native = facts.timeline.rate
        rate = min(Fraction(fps), native) if fps else native
        read_rate = picture_rate(facts.timeline, rate)
        sampler = Sampler(timeline=facts.timeline, rate=rate, picture_rate=read_rate)

        late, shown = [], set()
        with PictureReader(recording, facts, size=(WIDTH, HEIGHT), rate=read_rate) as pictures:
            for frames in sampler.frames(pictures):
                time_s = shown_time(frames.data)
                shown.add(time_s)
                late += [
                    time_s - float((frames.first + number) / rate) for number in range(frames.count)
                ]
    return Stored(
        facts=facts,
        seconds=len(late) / float(rate),
        end_s=sampler.end_s,
        late_s=np.array(late),
        missing=sampler.missing,
        pictures=len(shown),
        complaints=pictures.complaints,
    )


def shown_time(data: bytes) -> float:
    """Return the time that a picture of a clock shows, seconds."""
    return _stripes_time(np.frombuffer(data, np.uint8)[: WIDTH * HEIGHT].reshape(HEIGHT, _BITS, -1))


def frames_at(path: Path, times_s: "np.ndarray[tuple[int], np.dtype[np.float64]]") -> list[float]:
    """Return the time that a folder's features show at each time; NaN where they leave it out.

    Args:
        path: A clock whose picture is square.
        times_s: Seconds of the video, ascending.
    """
    with Recording(path) as recording:
        frames = read_frames(recording, inspect(recording), times_s, short_side_px=HEIGHT)
        return [
            np.nan
            if isinstance(frame, BadVideoError)
            else _stripes_time(frame[..., 1].reshape(HEIGHT, _BITS, -1))
            for frame in frames
        ]


def _stripes_time(luma: "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]") -> float:
    bits = luma.mean(axis=(0, 2)) > 128
    return float((bits * (1 << np.arange(_BITS))).sum()) / 100


def remove(path: Path, *, start: float, end: float) -> Path:
    """Remove a part of a file, given in shares of it."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * start)] + data[int(len(data) * end) :])
    return path


def overwrite(
    path: Path, *, start: float = 0.35, end: float = 0.65, seed: int | None = None
) -> Path:
    """Overwrite a part of a file, given in shares of it, with zeros or with noise."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * start), int(len(data) * end)
    noise = bytes(last - first) if seed is None else np.random.default_rng(seed).bytes(last - first)
    data[first:last] = noise
    path.write_bytes(data)
    return path
