"""Videos that are already stored: their clips are packed again, and no original is decoded."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import pyarrow as pa

from surgrec.errors import MissingError, ShardError
from surgrec.recordings.decoders import Decoders
from surgrec.shards import (
    Dropped,
    Sample,
    Shard,
    Source,
    SourceEntry,
)
from surgrec.storage import Store
from surgrec_shard.clip_writer import EncodedClip
from surgrec_shard.curation import CURATED
from surgrec_shard.encode import DroppedStretch, EncodedVideo, spool_video
from surgrec_shard.group_records import OVERLAP, GroupRecord, VideoFailure, is_stored
from surgrec_shard.stored_hashes import videos_of_source

_OF_THIS_BUILD = ("labels", "drop", "mask", "model", OVERLAP, CURATED)
"""Beginnings of the reasons that other input than the file decides: it may have changed."""


@dataclass(frozen=True, kw_only=True)
class StoredClips:
    """The clips of a video in a store, from an earlier build."""

    store: Store
    source: str
    samples: list[Sample]
    """By time; at least one."""
    dropped: list[DroppedStretch]
    end_s: float
    """End of the video, seconds."""
    complaints: int
    """Number of damaged places that the decoder skipped."""
    notes: list[str]
    """Sentences for the private report."""

    def copy(self, folder: Path) -> EncodedVideo:
        """Copy the clips into a folder, as if they had just been encoded.

        Raises:
            ShardError: A clip is damaged.
        """
        clips = []
        for number, sample in enumerate(self.samples):
            file = f"{number:06d}.mp4"
            (folder / file).write_bytes(self._read(sample))
            clips.append(
                EncodedClip(
                    file=file,
                    start_s=sample.clip.start_s,
                    duration_s=sample.clip.duration_s,
                    num_frames=sample.clip.num_frames,
                    blur=sample.clip.blur,
                    brightness=sample.clip.brightness,
                    motion=sample.clip.motion,
                    model_score=sample.clip.model_score,
                )
            )

        clip = self.samples[0].clip
        return EncodedVideo(
            folder=folder,
            clips=clips,
            fps=clip.fps,
            width=clip.width,
            height=clip.height,
            native_fps=clip.native_fps,
            native_width=clip.native_width,
            native_height=clip.native_height,
            crop=clip.crop,
            end_s=self.end_s,
            dropped=self.dropped,
            complaints=self.complaints,
            notes=self.notes,
        )

    def _read(self, sample: Sample) -> bytes:
        name = f"{self.source}/{sample.shard}"
        mp4 = self.store.read_range(name, sample.mp4_offset, sample.mp4_size)
        if hashlib.sha256(mp4).hexdigest() != sample.sha256:
            raise ShardError(
                f"{self.store.locate(name)}: {sample.key} does not have the digest of the index, "
                "so it cannot be packed again; copy the shard again, or remove it to encode its "
                "videos again"
            )
        return mp4


@dataclass(frozen=True, kw_only=True)
class RestoreTask:
    """Copies the clips of a stored video into a folder, which appears complete or not at all."""

    clips: StoredClips
    folder: Path

    def __call__(self, decoders: Decoders) -> EncodedVideo:
        """Return the clips. Raises ShardError and StorageError."""
        return spool_video(self.folder, self.clips.copy)


class StoredVideos:
    """The videos of one source whose clips are in the store, from an earlier build.

    Args:
        store: The corpus root.
        source: Name of the source.
        entry: Its entry in `corpus.json`; None if it has none.
        config: Digest of the encoding settings of the source.
        records: Finished groups of this source, also of earlier plans.
        wanted: For each video to look for, by name, the digest of its encoding; clips of another
            one are not used.

    Raises:
        ShardError: The index of the source breaks the format.
    """

    def __init__(
        self,
        store: Store,
        source: str,
        entry: SourceEntry | None,
        *,
        config: str,
        records: Iterable[GroupRecord],
        wanted: Mapping[str, str],
    ) -> None:
        self._store, self._source = store, source
        self._wanted = wanted
        self._is_stored = cache(partial(is_stored, store, source))
        self._samples: dict[str, Sequence[Sample]] = {}
        self._dropped: dict[str, list[DroppedStretch]] = {}
        self._damaged: dict[str, int] = {}
        self._notes: dict[str, list[str]] = {}
        self.failures: dict[str, VideoFailure] = {}
        """Videos that cannot be used, whatever their labels."""

        self.further_columns: pa.Table | None = None
        """Columns of the published index beyond the format, such as those of copies and clusters;
        None: there is no such index."""
        self.published = self._add_published(entry) if entry else frozenset[str]()
        """Names of the videos that `corpus.json` lists with at least one clip."""

        # The published index is read row by row, so it comes before the samples of records.
        of_index = frozenset(self._samples)
        for record in records:
            if record.config == config:
                self.failures |= {
                    failure.video: failure
                    for failure in record.failures
                    if not failure.may_pass and not failure.reason.startswith(_OF_THIS_BUILD)
                }
                self._add_record(record, of_index)

    def __contains__(self, video: str) -> bool:
        return video in self._samples

    def end_s(self, video: str) -> float:
        """Return the end of a stored video, seconds."""
        ends = [sample.clip.start_s + sample.clip.duration_s for sample in self._samples[video]]
        return max([*ends, *(stretch.end_s for stretch in self._dropped[video])])

    def native_fps(self, video: str) -> float:
        """Return the frame rate of a stored video, 1/s."""
        return self._samples[video][0].clip.native_fps

    def clips(self, video: str) -> StoredClips:
        """Return the clips of a stored video."""
        return StoredClips(
            store=self._store,
            source=self._source,
            samples=list(self._samples[video]),
            dropped=self._dropped[video],
            end_s=self.end_s(video),
            complaints=self._damaged.get(video, 0),
            notes=self._notes.get(video, []),
        )

    def _add_published(self, entry: SourceEntry) -> frozenset[str]:
        try:
            source = Source.open(self._store, self._source, entry)
            dropped = source.dropped()
        except MissingError:  # a table was lost: only the records are left
            return frozenset()
        self._add(
            entry.shards,
            {
                video.name: video.samples
                for video in videos_of_source(source)
                if self._wanted.get(video.name) == video.samples[0].clip.config
            },
            dropped,
        )
        self.further_columns = source.index.further_columns()
        return frozenset(source.index.column("video").unique().to_pylist())

    def _add_record(self, record: GroupRecord, of_index: Collection[str]) -> None:
        """Add the wanted videos of a record; of those of the index, only damage and notes."""
        by_video: dict[str, list[Sample]] = defaultdict(list)
        for sample in record.samples:
            if self._wanted.get(sample.clip.video) == sample.clip.config:
                by_video[sample.clip.video].append(sample)
        others = {
            video: sorted(clips, key=lambda sample: sample.clip.start_s)
            for video, clips in by_video.items()
            if video not in of_index
        }
        added = self._add(record.shards, others, record.dropped)
        for video in {*added, *(by_video.keys() & of_index)}:
            self._damaged[video] = record.damaged.get(video, 0)
            self._notes[video] = record.notes.get(video, [])

    def _add(
        self,
        shards: Iterable[Shard],
        by_video: Mapping[str, Sequence[Sample]],
        dropped: Iterable[Dropped],
    ) -> Collection[str]:
        """Add the videos that are stored whole, with all of their shards. Return them."""
        shard_of = {shard.name: shard for shard in shards}
        usable = {
            video: clips
            for video, clips in by_video.items()
            if all(self._is_stored(shard_of[clip.shard]) for clip in clips)
        }
        self._samples |= usable
        self._dropped |= {video: [] for video in usable}
        for row in dropped:
            if row.video in usable:
                self._dropped[row.video].append(
                    DroppedStretch(start_s=row.start_s, end_s=row.end_s, reason=row.reason)
                )
        return usable.keys()
