"""Encoding: one video becomes clips as mp4 files, in one pass of ffmpeg with one thread."""

import csv
import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from surgrec.errors import ConfigError
from surgrec.ranges import Range, check_ranges
from surgrec.recordings import (
    BadVideoError,
    FfmpegError,
    FileIdentity,
    Recording,
    RecordingFacts,
    inspect,
    run_ffmpeg,
)
from surgrec_shard.disk import writing_to
from surgrec_shard.encoder import encoder_versions

_CLIPS_FILE, _SEGMENTS_FILE = "clips.json", "segments.csv"
_ENCODING_VERSION = 1
"""Raise it with every change here that changes the bytes of a clip. Builds then start again."""
_SHORTFALL_S, _SHORTFALL_SHARE = 2.0, 0.02
"""Accepted difference from the duration in the container, which is rounded by a frame or two."""


@dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How clips are stored. The defaults decode fast: short GOPs, no B-frames, few frames."""

    short_side_px: Annotated[int, Range(16, 8192)] = 256
    """Length of the shorter side, pixels; smaller videos keep their size."""
    fps: Annotated[float, Range(0, 1000)] = 8.0
    """Stored frames per second of video, at most the native rate; 0 keeps the native rate."""
    clip_s: Annotated[float, Range(0, 86_400, above=True)] = 10.0
    """Seconds per clip."""
    min_clip_s: Annotated[float, Range(0, 86_400, above=True)] = 4.0
    """Shortest last clip of a video, seconds; a shorter one is dropped and counted."""
    crf: Annotated[int, Range(0, 51)] = 23
    """x264 quality, 0 to 51: a lower value gives better and larger clips."""
    preset: Literal["ultrafast", "veryfast", "fast", "medium", "slow"] = "medium"
    """x264 effort."""
    tune: Literal["fastdecode", "film", "none"] = "fastdecode"
    """x264 tuning."""
    gop: Annotated[int, Range(1, 100_000)] = 8
    """Frames from one keyframe to the next."""
    b_frames: Annotated[int, Range(0, 16)] = 0
    """Consecutive B-frames."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.short_side_px % 2:
            raise ConfigError(f"short_side_px is {self.short_side_px}; give an even number")
        if self.min_clip_s > self.clip_s:
            raise ConfigError(
                f"min_clip_s is {self.min_clip_s:g} and clip_s is {self.clip_s:g}; give a "
                "min_clip_s that is not larger"
            )

    def digest(self) -> str:
        """Return 12 hex digits that change with any setting and with the ffmpeg or x264 version."""
        text = json.dumps([_ENCODING_VERSION, asdict(self), encoder_versions()], sort_keys=True)
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class EncodedClip:
    """One clip of a video, as a file. Times in seconds of the video."""

    file: str
    start_s: float
    duration_s: float
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class EncodedVideo:
    """The clips of a video."""

    folder: Path
    clips: list[EncodedClip]
    fps: float
    width: int
    height: int
    native_fps: float
    native_width: int
    native_height: int
    tail: tuple[float, float] | None
    """Start and end of a last segment that is too short for a clip, seconds."""
    complaints: int
    """Number of damaged places that the decoder skipped."""

    @property
    def end_s(self) -> float:
        """End of the video, seconds."""
        last = self.clips[-1]
        return self.tail[1] if self.tail else last.start_s + last.duration_s


def encode_video(
    path: Path, settings: EncodeSettings, folder: Path, identity: FileIdentity | None = None
) -> EncodedVideo:
    """Encode a video into a folder, which appears complete or not at all.

    Args:
        path: The video file.
        settings: How clips are stored.
        folder: Folder for the clips. If it exists, its clips are read and nothing is encoded.
        identity: Identity of the file when it was hashed.

    Raises:
        BadVideoError: The file has changed, is not a video, is truncated, or is shorter than the
            shortest clip.
        StorageError: The disk is full.
    """
    if (folder / _CLIPS_FILE).is_file():
        return _read(folder)

    with Recording(path) as recording:
        recording.require_unchanged(identity)
        return _encode_into(recording, settings, folder)


def _encode_into(recording: Recording, settings: EncodeSettings, folder: Path) -> EncodedVideo:
    facts = inspect(recording)
    partial = _partial_folder(folder)
    try:
        encoded = _encode(recording, facts, settings, partial)
        recording.require_unchanged()
        text = json.dumps({**asdict(encoded), "folder": ""})
        with writing_to(folder.parent):
            (partial / _CLIPS_FILE).write_text(text, encoding="utf-8")
            partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return _read(folder)


def _partial_folder(folder: Path) -> Path:
    """Return a new folder for one attempt, and remove those of earlier attempts.

    A name is never used twice: ffmpeg may outlive a killed build and still write into its folder.
    """
    for abandoned in folder.parent.glob(f"{folder.name}.partial-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with writing_to(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{folder.name}.partial-", dir=folder.parent))


def _encode(
    recording: Recording, facts: RecordingFacts, settings: EncodeSettings, folder: Path
) -> EncodedVideo:
    width, height = _stored_size(facts, settings.short_side_px)
    fps = min(settings.fps, facts.fps) if settings.fps else facts.fps
    try:
        with writing_to(folder.parent):
            complaints = run_ffmpeg(
                recording,
                _input_options(facts),
                _output_arguments(facts, settings, fps, width, height),
                out=folder,
            )
    except FfmpegError as error:
        raise BadVideoError("undecodable", f"ffmpeg cannot decode the file: {error}") from None

    # A video that ends before its stated duration is a truncated copy.
    segments = _read_segments(folder / _SEGMENTS_FILE, fps)
    end_s = segments[-1].start_s + segments[-1].duration_s if segments else 0.0
    expected_s = facts.duration_s or 0.0
    if expected_s - end_s > max(_SHORTFALL_S, _SHORTFALL_SHARE * expected_s):
        raise BadVideoError(
            "truncated",
            f"only {end_s:.1f} s of {expected_s:.1f} s can be decoded; copy the file again",
        )

    clips = [clip for clip in segments if clip.duration_s >= settings.min_clip_s - 0.5 / fps]
    if not clips:
        raise BadVideoError(
            "too_short",
            f"the video lasts {end_s:.1f} s, but the shortest clip is {settings.min_clip_s:g} s; "
            "lower encode.min_clip_s to use it",
        )
    return EncodedVideo(
        folder=folder,
        clips=clips,
        fps=fps,
        width=width,
        height=height,
        native_fps=facts.fps,
        native_width=facts.width,
        native_height=facts.height,
        tail=(segments[-1].start_s, end_s) if len(clips) < len(segments) else None,
        complaints=complaints,
    )


def _input_options(facts: RecordingFacts) -> list[str]:
    # If frames change their size midway, the same filters must continue: new ones would restart at
    # time 0. yadif and the rotation of frames do not accept such a change.
    keep_filters = [] if facts.interlaced or facts.rotated else ["-reinit_filter", "0"]
    return ["-threads", "1", *keep_filters]


def _output_arguments(
    facts: RecordingFacts, settings: EncodeSettings, fps: float, width: int, height: int
) -> list[str]:
    filters = [
        *(["yadif"] if facts.interlaced else []),
        "setpts=PTS-STARTPTS",
        f"fps={fps!r}",
        f"scale={width}:{height}:flags=bicubic+accurate_rnd+bitexact",
        "setsar=1",
    ]
    tune = ["-tune", settings.tune] if settings.tune != "none" else []
    return [
        # The video stream only: no sound, subtitles, data, metadata or chapters.
        *("-map", "0:V:0", "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-fflags", "+bitexact", "-flags:v", "+bitexact"),
        *("-vf", ",".join(filters), "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", settings.preset, "-crf", str(settings.crf)),
        *("-threads", "1"),
        *("-a53cc", "0"),  # closed captions are stored inside the picture data
        *tune,
        *("-bf", str(settings.b_frames), "-g", str(settings.gop), "-sc_threshold", "0"),
        *("-force_key_frames", f"expr:gte(t,n_forced*{settings.clip_s!r})"),
        *("-f", "segment", "-segment_time", repr(settings.clip_s), "-reset_timestamps", "1"),
        *("-segment_list", _SEGMENTS_FILE, "-segment_list_type", "csv"),
        *("-segment_format", "mp4", "-segment_format_options", "movflags=+faststart", "%06d.mp4"),
    ]


def _stored_size(facts: RecordingFacts, short_side_px: int) -> tuple[int, int]:
    """Return the stored width and height: even numbers, never larger than the native ones."""
    scale = min(1.0, short_side_px / min(facts.width, facts.height))
    return max(2, round(facts.width * scale / 2) * 2), max(2, round(facts.height * scale / 2) * 2)


def _read_segments(path: Path, fps: float) -> list[EncodedClip]:
    """Read ffmpeg's list of segments.

    The stored rate is constant, so their times give exact numbers of frames.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(row[0], float(row[1]), float(row[2])) for row in csv.reader(file)]

    return [
        EncodedClip(
            file=name,
            start_s=round(start_s, 6),
            duration_s=round(end_s - start_s, 6),
            num_frames=round((end_s - start_s) * fps),
        )
        for name, start_s, end_s in rows
    ]


def _read(folder: Path) -> EncodedVideo:
    row = json.loads((folder / _CLIPS_FILE).read_text(encoding="utf-8"))
    row["clips"] = [EncodedClip(**clip) for clip in row["clips"]]
    row["tail"] = tuple(row["tail"]) if row["tail"] else None
    return EncodedVideo(**(row | {"folder": folder}))
