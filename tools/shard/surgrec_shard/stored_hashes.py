"""Hashes of stored videos: their clips are decoded once, and the hashes are kept in a cache."""

import hashlib
import tempfile
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import IO, overload

import numpy as np
from jaxtyping import Float64, Int64, UInt8

from surgrec.duplicates import HASH_VERSION, HEIGHT_PX, VideoHashes, hash_video
from surgrec.errors import ShardError
from surgrec.recordings import BadVideoError
from surgrec.recordings.decoders import Decoders
from surgrec.recordings.process import FfmpegProcess
from surgrec.shards import Sample, Source
from surgrec.storage import Store
from surgrec.storage.user_cache import user_cache_folder
from surgrec.terminal import escape, warn
from surgrec_shard.disk import writing_to
from surgrec_shard.engines import Engine, Needs, completed

_PICTURES_PER_S = 8
"""Pictures that are hashed, per second of video. A hash is their mean over a few seconds: with 3
pictures per second, the mean of a fast scene depends on the moments at which they were taken."""
_MORE_TEMPORARY = "set TMPDIR to a folder on another disk"
_MORE_CACHE = "set SURGREC_CACHE to a folder on another disk"


@dataclass(frozen=True, kw_only=True)
class StoredVideo:
    """The clips of one video in a store."""

    store: Store
    source: str
    name: str
    samples: Sequence[Sample]
    """Its clips by time; at least one. Those of an index are read whenever they are used."""

    @property
    def case(self) -> str:
        """Name of its case in the corpus."""
        return self.samples[0].clip.case

    @property
    def split(self) -> str:
        """Its stored split."""
        return self.samples[0].clip.split

    def digest(self) -> str:
        """Return a digest of all that its hashes depend on: the content and the times of clips."""
        lines = [
            f"{sample.clip.start_s} {sample.clip.fps} {sample.clip.num_frames} {sample.sha256}"
            for sample in self.samples
        ]
        return hashlib.sha256("\n".join([str(HASH_VERSION), *lines]).encode()).hexdigest()


class _SamplesOfRows(Sequence[Sample]):
    """Some rows of an index as samples. Objects of all clips would take 3 GB per million."""

    def __init__(self, source: Source, rows: Int64[np.ndarray, " n"]) -> None:
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> "_SamplesOfRows": ...
    def __getitem__(self, place: int | slice) -> "Sample | _SamplesOfRows":
        if isinstance(place, slice):
            return _SamplesOfRows(self._source, self._rows[place])
        return self._source.index.sample(int(self._rows[place]))


def videos_of_source(source: Source) -> list[StoredVideo]:
    """Return the videos of a source, sorted by name."""
    index = source.index
    starts_s = index.column("start_s").to_numpy()
    parts = index.partition(np.arange(index.num_rows), ["video"])
    return [
        StoredVideo(
            store=source.store,
            source=source.name,
            name=values["video"],
            samples=_SamplesOfRows(source, rows[np.argsort(starts_s[rows], kind="stable")]),
        )
        for values, rows in sorted(parts, key=lambda part: part[0].get("video", ""))
        if len(rows)
    ]


def videos_of_sources(sources: Mapping[str, Source]) -> list[StoredVideo]:
    """Return the videos of all sources."""
    return [video for source in sources.values() for video in videos_of_source(source)]


def stored_videos(store: Store, source: str, samples: Iterable[Sample]) -> list[StoredVideo]:
    """Return the videos of some samples of a source, sorted by name."""
    by_name: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_name[sample.clip.video].append(sample)

    return [
        StoredVideo(
            store=store,
            source=source,
            name=name,
            samples=sorted(clips, key=lambda sample: sample.clip.start_s),
        )
        for name, clips in sorted(by_name.items())
    ]


def hash_videos(
    videos: Sequence[StoredVideo], engine: Engine, progress: Callable[[int, int], None]
) -> list[VideoHashes]:
    """Return the hashes of stored videos. Those of earlier calls come from the user's cache.

    Args:
        videos: The videos.
        engine: Decodes them.
        progress: Called with the number of finished and of all videos.

    Raises:
        ShardError: A clip is damaged.
        StorageError: The temporary folder or the cache cannot be written.
    """
    folder = user_cache_folder("hashes")
    paths = [folder / f"{video.digest()[:32]}.npz" for video in videos]
    known = {number: hashes for number, path in enumerate(paths) if (hashes := _read(path))}
    progress(len(known), len(videos))

    tasks = (
        (number, HashTask(video=replace(video, samples=list(video.samples))), Needs())
        for number, video in enumerate(videos)
        if number not in known
    )
    for number, future in completed(engine, tasks):
        known[number] = future.result()
        _write(paths[number], known[number])
        progress(len(known), len(videos))
    return [known[number] for number in range(len(videos))]


@dataclass(frozen=True, kw_only=True)
class HashTask:
    """Hashes a stored video."""

    video: StoredVideo

    def __call__(self, decoders: Decoders) -> VideoHashes:
        """Return the hashes. Raises ShardError and StorageError."""
        return _hash(self.video)


def _read(path: Path) -> VideoHashes | None:
    """Return cached hashes, or None if there are none. A damaged file is made again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            hashes = VideoHashes(seconds=file["seconds"], hashes=file["hashes"])
        if hashes.hashes.shape[:1] == hashes.seconds.shape and hashes.hashes.dtype == np.uint64:
            return hashes
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass
    warn(f"{escape(str(path))} is damaged; the video is hashed again")
    return None


def _write(path: Path, hashes: VideoHashes) -> None:
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    with writing_to(path.parent, _MORE_CACHE):
        try:
            with partial.open("xb") as file:
                np.savez(file, seconds=hashes.seconds, hashes=hashes.hashes)
            partial.replace(path)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()


def _hash(video: StoredVideo) -> VideoHashes:
    """Decode all clips of a video and hash its seconds. Pictures are in a file, not in memory."""
    temporary = Path(tempfile.gettempdir())
    width = max(16, round(video.samples[0].clip.width * HEIGHT_PX / video.samples[0].clip.height))
    every = max(1, round(video.samples[0].clip.fps / _PICTURES_PER_S))
    times_s = _times_s(video.samples, every)
    size = len(times_s) * HEIGHT_PX * width

    with (
        writing_to(temporary, _MORE_TEMPORARY),
        tempfile.TemporaryDirectory(prefix="surgrec-hashes-") as name,
        (Path(name) / "pictures").open("w+b") as pictures,
    ):
        _copy_clips(video, Path(name))
        reason = _decode(Path(name), pictures, width, every)
        found = pictures.tell()
        if found != size:
            raise ShardError(
                f"{video.store.locate(video.source)}: the clips of the video {video.name} have "
                f"{found // (HEIGHT_PX * width)} pictures that can be decoded, not {len(times_s)} "
                f"({reason}); run `surgrec-shard verify` on this corpus"
            )
        pictures.flush()
        frames: UInt8[np.ndarray, "n h w"] = np.memmap(
            pictures, dtype=np.uint8, mode="r", shape=(len(times_s), HEIGHT_PX, width)
        )
        return hash_video(frames, times_s)


def _times_s(samples: Sequence[Sample], every: int) -> Float64[np.ndarray, " n"]:
    """Return the times of every n-th picture of the clips in a row, seconds of the video."""
    clips = [sample.clip for sample in samples]
    times = [clip.start_s + np.arange(clip.num_frames) / clip.fps for clip in clips]
    return np.concatenate(times)[::every]


def _copy_clips(video: StoredVideo, folder: Path) -> None:
    """Copy the clips into a folder, with a list of their names for ffmpeg."""
    lines = []
    for number, sample in enumerate(video.samples):
        name = f"{video.source}/{sample.shard}"
        mp4 = video.store.read_range(name, sample.mp4_offset, sample.mp4_size)
        if hashlib.sha256(mp4).hexdigest() != sample.sha256:
            raise ShardError(
                f"{video.store.locate(name)}: {sample.key} does not have the digest of the index; "
                "run `surgrec-shard verify` on this corpus"
            )
        (folder / f"{number:06d}.mp4").write_bytes(mp4)
        # The length is that of the frames: the times of the next clip follow from it.
        length_s = float(Fraction(sample.clip.num_frames) / Fraction(sample.clip.fps))
        lines.append(f"file {number:06d}.mp4\nduration {length_s:.6f}\n")
    (folder / "clips.txt").write_text("".join(lines), encoding="utf-8")


def _decode(folder: Path, pictures: IO[bytes], width: int, every: int) -> str:
    """Write every n-th picture of the listed clips as gray pixels. Return the first complaints."""
    arguments = [
        *("-v", "level+error", "-nostdin", "-threads", "1"),
        # A clip is one MP4 file that opens no other file.
        *("-format_whitelist", "concat,mov", "-protocol_whitelist", "file"),
        *("-f", "concat", "-i", "clips.txt", "-an", "-sn", "-dn", "-filter_threads", "1"),
        *("-vf", f"select=not(mod(n\\,{every})),scale={width}:{HEIGHT_PX}:flags=area,format=gray"),
        *("-fps_mode", "passthrough", "-f", "rawvideo", "pipe:1"),
    ]
    try:
        with FfmpegProcess("ffmpeg", arguments, folder=folder) as process:
            while data := process.read_some(process.stdout.fileno(), 1 << 20):
                pictures.write(data)
            process.wait()
            return process.log.reason()
    except BadVideoError as error:
        return str(error)
