"""Trial encodings: parts of a few videos of each source, encoded as a build would do it."""

import resource
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import ManifestError
from surgrec.recordings import BadVideoError
from surgrec.recordings.process import find_program, starting
from surgrec_shard.cost import ENCODER_CORE_S_PER_MEGAPIXEL, SourceWork
from surgrec_shard.curation import CurateSettings, Curation
from surgrec_shard.disk import writing_to
from surgrec_shard.encode import EncodeSettings, encode_video
from surgrec_shard.video_headers import read_headers

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OriginalVideo:
    """A video file with its length."""

    path: Path
    source: str
    duration_s: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class _Part:
    """The cost and the result of encoding a part of a video."""

    duration_s: float
    core_s: float
    """Processor time."""
    bytes: int
    megapixels: float
    """10^6 pixels of all stored frames."""


def read_lengths(paths: Sequence[tuple[str, Path]], tell: Tell) -> list[OriginalVideo]:
    """Return the videos with a known length, from the headers of their files.

    Args:
        paths: Source and file of each video.
        tell: Called with a sentence about each video that cannot be read.

    Raises:
        ManifestError: No video can be read.
    """
    videos = []
    headers = read_headers([path for _, path in paths])
    for (source, path), header in zip(paths, headers, strict=True):
        if header.fault or not header.duration_s:
            tell(f"{path} is left out: {header.fault or 'its header has no length'}")
            continue
        size, duration_s = path.stat().st_size, header.duration_s
        videos.append(OriginalVideo(path=path, source=source, duration_s=duration_s, bytes=size))
    if not videos:
        raise ManifestError("no video can be read; the lines above say why")
    return videos


def work_of_source(
    videos: Sequence[OriginalVideo],
    encode: EncodeSettings,
    curate: CurateSettings,
    *,
    samples: int,
    sample_s: float,
    tell: Tell,
) -> SourceWork:
    """Encode parts of some videos of a source, and return the work of all of them.

    Args:
        videos: The videos of one source.
        encode: How clips are stored.
        curate: Which stretches are left out.
        samples: Videos to try: the ones in the middle of as many ranges of length.
        sample_s: Seconds of each, from its middle.
        tell: Called with a sentence about each part that cannot be encoded.

    Raises:
        ManifestError: None of the parts can be encoded.
        StorageError: The temporary folder is full.
    """
    by_length = sorted(videos, key=lambda video: (video.duration_s, str(video.path)))
    count = min(samples, len(by_length))
    chosen = [
        by_length[(2 * number + 1) * len(by_length) // (2 * count)] for number in range(count)
    ]
    tried_s = used_s = stored = megapixels = 0.0
    for video in chosen:
        try:
            tried = _encode_part(video, encode, curate, sample_s)
        except BadVideoError as error:
            tell(f"{video.path} cannot be tried: {error}")
            continue
        tried_s, used_s = tried_s + tried.duration_s, used_s + tried.core_s
        stored, megapixels = stored + tried.bytes, megapixels + tried.megapixels
    if not tried_s:
        raise ManifestError(
            f"no part of the source {videos[0].source} can be encoded; the lines above say why"
        )

    return SourceWork(
        source=videos[0].source,
        videos=len(videos),
        hours=sum(video.duration_s for video in videos) / 3600,
        longest_h=by_length[-1].duration_s / 3600,
        bytes_in=sum(video.bytes for video in videos),
        cores=used_s / tried_s,
        encoder_cores=megapixels * ENCODER_CORE_S_PER_MEGAPIXEL / tried_s,
        bytes_per_s=stored / tried_s,
        basis=f"{tried_s:.0f} s of {count} of its videos, encoded now",
    )


def _encode_part(
    video: OriginalVideo, encode: EncodeSettings, curate: CurateSettings, sample_s: float
) -> _Part:
    """Encode a part of a video."""
    program = find_program("ffmpeg")
    temporary = Path(tempfile.gettempdir())
    with (
        writing_to(temporary, "set TMPDIR to another disk"),
        tempfile.TemporaryDirectory() as name,
    ):
        part = Path(name) / f"part{video.path.suffix}"
        start_s = max(0.0, (video.duration_s - sample_s) / 2)
        command = [
            *(program, "-v", "error", "-nostdin", "-ss", f"{start_s:.3f}", "-i", str(video.path)),
            *("-t", f"{sample_s:.3f}", "-map", "0:v:0", "-c", "copy", str(part)),
        ]
        with starting(program):
            copied = subprocess.run(command, capture_output=True, text=True, check=False)
        if copied.returncode:
            reason = " ".join(copied.stderr.split())[:300]
            raise BadVideoError("undecodable", f"ffmpeg cannot cut a part out ({reason})")

        before_s = _used_s()
        encoded = encode_video(
            part, encode, Path(name) / "clips", curation=Curation(settings=curate)
        )
        used_s = _used_s() - before_s
        frames = sum(clip.num_frames for clip in encoded.clips)
        return _Part(
            duration_s=encoded.end_s,
            core_s=used_s,
            bytes=sum(file.stat().st_size for file in encoded.folder.glob("*.mp4")),
            megapixels=frames * encoded.width * encoded.height / 1e6,
        )


def _used_s() -> float:
    """Return the processor time of this process and its ended children, seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
