"""The videos of corpora: the stored clips of a video, joined by time."""

from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from surgrec.clips import Box, ClipSampling, central_crop, decode_clip, torchcodec_classes
from surgrec.clips.windows import clips_at, times_in_clip
from surgrec.errors import ConfigError, SampleError, ShardError
from surgrec.features._table import WindowRow, window_rows
from surgrec.features._videos import Piece, VideoEntry, VideoReader, VideoSet
from surgrec.features._windows import TimeSpan, joined, window_starts
from surgrec.shards import Sample, Source, open_corpus, source_digest
from surgrec.stream import Fetcher
from surgrec.stream.sampling_checks import RepeatedFrames, find_repeated_frames

Crop: TypeAlias = Callable[[int, int], Box]
"""The part of a frame to keep, from the frame's height and width in pixels."""

_FETCH_THREADS = 4
_LONGEST_VIDEO_S = 1e7
"""End of a clip above which its times are taken for damage: 115 days."""


class CorpusVideos(VideoSet):
    """The videos of one or several corpora, of all stored splits."""

    def __init__(
        self, addresses: Sequence[str], only: Collection[tuple[str, str]] | None = None
    ) -> None:
        self._sources = open_corpus(addresses)
        self._rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        for name, source in self._sources.items():
            for row, video in enumerate(source.index.column("video").to_pylist()):
                if only is None or (name, video) in only:
                    self._rows[name, video].append(row)
        self.entries = [self._entry(*video) for video in sorted(self._rows)]

    @property
    def facts(self) -> dict[str, Any]:
        """Addresses of the corpora, and the digest of each source."""
        return {
            "kind": "corpora",
            "addresses": sorted({source.store.address for source in self._sources.values()}),
            "digests": {
                name: source.entry.digest for name, source in sorted(self._sources.items())
            },
        }

    def require(
        self, sampling: ClipSampling, *, allow_repeated_frames: bool
    ) -> list[RepeatedFrames]:
        """Refuse clips with impossible times, and those that would repeat frames."""
        torchcodec_classes()  # report a missing torchcodec once, not for every video
        rows: dict[str, list[int]] = defaultdict(list)
        for (source, _), own in self._rows.items():
            rows[source] += own

        stored_fps: dict[str, Float64[np.ndarray, " _"]] = {}
        for source, own in sorted(rows.items()):
            index = self._sources[source].index
            starts_s, durations_s, fps = (
                index.column(name).to_numpy()[own] for name in ("start_s", "duration_s", "fps")
            )
            # `not <=` is also true for NaN.
            impossible = ~((starts_s >= 0) & (durations_s > 0) & (fps > 0))
            impossible |= ~(starts_s + durations_s <= _LONGEST_VIDEO_S)
            if impossible.any():
                worst = int(np.flatnonzero(impossible)[0])
                raise ShardError(
                    f"{source}/{index.key(own[worst])}: the index says that this clip starts at "
                    f"{starts_s[worst]:g} s, lasts {durations_s[worst]:g} s and has {fps[worst]:g} "
                    "frames per second; build the source again"
                )
            stored_fps[source] = fps

        repeated = find_repeated_frames(stored_fps, sampling.fps)
        if repeated and not allow_repeated_frames:
            raise ConfigError(
                f"frames would repeat: {'; '.join(map(str, repeated))}, but a window has "
                f"{sampling.fps:g}; give --fps {min(row.least_fps for row in repeated):g}, build "
                "the videos into another corpus with a higher --encode.fps if they have more "
                "frames, or give --allow_repeated_frames true"
            )
        return repeated

    def windows(self, sampling: ClipSampling, stride_s: float) -> list[WindowRow]:
        """Return the windows that an extraction would read. Nothing is decoded.

        Args:
            sampling: Frames of a window.
            stride_s: Seconds from the start of one window to the start of the next.

        Raises:
            SampleError: A video has more windows than features can be kept of.
        """
        return [
            row
            for entry in self.entries
            for row in window_rows(
                entry,
                window_starts(self.open(entry).spans, sampling.span_s, stride_s),
                sampling.span_s,
            )
        ]

    def open(self, entry: VideoEntry) -> "JoinedClips":
        """Open the clips of one video."""
        index = self._sources[entry.source].index
        samples = [index.sample(row) for row in self._rows[entry.source, entry.video]]
        return JoinedClips(samples, self._sources)

    def _entry(self, source: str, video: str) -> VideoEntry:
        clip = self._sources[source].index.sample(self._rows[source, video][0]).clip
        return VideoEntry(
            source=source, domain=clip.domain, case=clip.case, video=video, split=clip.split
        )


class JoinedClips(VideoReader):
    """The stored clips of a video, read as one video."""

    def __init__(self, samples: Sequence[Sample], sources: dict[str, Source]) -> None:
        self._samples = sorted(samples, key=lambda sample: sample.clip.start_s)
        self._starts = np.array([sample.clip.start_s for sample in self._samples])
        self._fetcher = Fetcher(sources, _FETCH_THREADS)
        self.name = samples[0].clip.video
        self.digest = source_digest((sample.key, sample.sha256) for sample in samples)

    @property
    def fps(self) -> float:
        """Frames per second of the slowest clip."""
        return min(sample.clip.fps for sample in self._samples)

    @property
    def spans(self) -> tuple[TimeSpan, ...]:
        """Consecutive clips; a gap longer than a frame ends a span."""
        return joined(
            [
                (sample.clip.start_s, sample.clip.start_s + sample.clip.duration_s)
                for sample in self._samples
            ],
            gap_s=max(1 / sample.clip.fps for sample in self._samples),
        )

    def pieces(self, times: Float64[np.ndarray, " t"], crop: Crop = central_crop) -> list[Piece]:
        """Decode the frames on screen at these times, one piece per clip.

        Args:
            times: Seconds of the video, ascending.
            crop: Part of each frame to keep. Default: the central square.
        """
        owner = clips_at(self._starts, times)
        clips = [int(clip) for clip in np.unique(owner)]
        fetched = self._fetcher.fetch([self._samples[clip] for clip in clips])

        pieces = []
        for clip, mp4 in zip(clips, fetched, strict=True):
            indices = np.flatnonzero(owner == clip)
            frames = decoded(self._samples[clip], mp4, times[indices], crop)
            pieces.append(Piece(indices=indices, frames=frames))
        return pieces


def decoded(
    sample: Sample,
    mp4: bytes | SampleError,
    times: Float64[np.ndarray, " k"],
    crop: Crop = central_crop,
) -> Tensor | SampleError:
    """Return the frames of a clip at times of its video, as `times_in_clip` finds them."""
    clip = sample.clip
    if isinstance(mp4, SampleError):
        return mp4
    box = crop(clip.height, clip.width)
    try:
        return decode_clip(
            mp4,
            times_in_clip(clip, times),
            box,
            num_frames=clip.num_frames,
            key=sample.key,
            clock=sample.clock,
        )
    except SampleError as error:
        return error
