"""Clips: frames become mp4 files, through one process of ffmpeg per uninterrupted stretch."""

import csv
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from surgrec.errors import SetupError
from surgrec.recordings.process import FfmpegProcess

_SEGMENTS_FILE, _PARTS_FILE = "segments.csv", "parts.txt"


@dataclass(frozen=True, kw_only=True)
class EncodedClip:
    """One clip of a video, as a file. Times in seconds of the video."""

    file: str
    start_s: float
    duration_s: float
    num_frames: int
    blur: float = 0.0
    brightness: float = 0.0
    motion: float = 0.0
    """Means over the measured frames, 0 to 1; 0 if none was measured."""
    model_score: float | None = None
    """Mean score of a user's model; None: there is no model."""


@dataclass(frozen=True, kw_only=True)
class FrameFormat:
    """Format of raw frames, as an encoder needs it."""

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
        min_clip_s: Shortest rest that becomes a clip of its own, seconds. A shorter one is joined
            to the clip before it.
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
        min_clip_s: float,
        first_frame: int,
        first_clip: int,
    ) -> None:
        self._folder, self._frames = folder, frames
        self._first_frame, self._written = first_frame, 0
        self._shortest_s = min_clip_s - 0.5 / float(frames.rate)

        self._process = FfmpegProcess(
            "ffmpeg",
            [
                *("-v", "level+error", "-nostdin", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"),
                *("-s", f"{frames.width}x{frames.height}", "-framerate", str(frames.rate)),
                *("-i", "pipe:0", *_output(frames, encoding, clip_s, first_clip)),
            ],
            folder=folder,
            is_fed=True,
        )

    def __enter__(self) -> "ClipWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.__exit__(*error)

    def write(self, data: bytes, count: int) -> None:
        """Write one picture as `count` frames.

        Raises:
            BadVideoError: ffmpeg needs too much memory or time, or writes too much.
            SetupError: It cannot encode, or was stopped by a signal.
            OSError: The disk is full.
        """
        try:
            for _ in range(count):
                self._process.write(data)
            self._written += count
        except BrokenPipeError:
            self._judge(self._process)

    def close(self) -> list[EncodedClip]:
        """Finish the stretch and return its clips.

        Raises:
            BadVideoError: ffmpeg needs too much memory or time, or writes too much.
            SetupError: It cannot encode, or was stopped by a signal.
            OSError: The disk is full.
        """
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._judge(self._process)
        clips = self._clips()
        if len(clips) > 1 and clips[-1].duration_s < self._shortest_s:
            clips[-2:] = [self._joined(*clips[-2:])]
        return clips

    def _joined(self, clip: EncodedClip, rest: EncodedClip) -> EncodedClip:
        """Append the rest of the stretch to the clip before it. Its pictures stay as they are."""
        parts, whole = self._folder / _PARTS_FILE, "joined.mp4"
        parts.write_text(f"file {clip.file}\nfile {rest.file}\n", encoding="utf-8")

        arguments = [
            *("-v", "level+error", "-nostdin", "-y", "-f", "concat", "-i", _PARTS_FILE),
            *("-map_metadata", "-1", "-c", "copy", "-fflags", "+bitexact"),
            *("-movflags", "+faststart", whole),
        ]

        with FfmpegProcess("ffmpeg", arguments, folder=self._folder) as process:
            self._judge(process)
        (self._folder / rest.file).unlink()
        (self._folder / whole).rename(self._folder / clip.file)

        return replace(
            clip,
            duration_s=round(clip.duration_s + rest.duration_s, 6),
            num_frames=clip.num_frames + rest.num_frames,
        )

    def _judge(self, process: FfmpegProcess) -> None:
        """Raise the reason of a process that has failed. It is never the fault of the video."""
        if status := process.wait():
            reason = process.log.reason()
            raise SetupError(
                f"ffmpeg cannot encode ({reason}; exit status {status}); check its encoders"
            )

    def _clips(self) -> list[EncodedClip]:
        """Read ffmpeg's list of segments, whose times give exact numbers of frames."""
        rate = self._frames.rate
        with (self._folder / _SEGMENTS_FILE).open(newline="", encoding="utf-8") as file:
            rows = [
                (row[0], round(float(row[1]) * rate), round(float(row[2]) * rate))
                for row in csv.reader(file)
            ]
        # B-frames delay the times of all segments, but not the first start.
        delay = rows[-1][2] - self._written
        starts = [0, *(start - delay for _, start, _ in rows[1:])]
        ends = [*starts[1:], self._written]
        return [
            EncodedClip(
                file=name,
                start_s=round(float((self._first_frame + start) / rate), 6),
                duration_s=round(float((end - start) / rate), 6),
                num_frames=end - start,
            )
            for (name, _, _), start, end in zip(rows, starts, ends, strict=True)
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
