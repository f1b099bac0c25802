"""Videos that are already stored: their clips are packed again, and no original is decoded."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache, partial
from pathlib import Path

from surgrec.errors import MissingError, ShardError
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
from surgrec_shard.group_records import OVERLAP, PackedGroup, VideoFailure, is_stored

_OF_THIS_BUILD = ("labels", "drop", "mask", "model", OVERLAP, CURATED)
"""Beginnings of the reasons that other input than the file decides: it may have changed."""


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
        records: Iterable[PackedGroup],
        wanted: Mapping[str, str],
    ) -> None:
        self._store, self._source = store, source
        self._wanted = wanted
        self._is_stored = cache(partial(is_stored, store, source))
        self._samples: dict[str, list[Sample]] = {}
        self._dropped: dict[str, list[DroppedStretch]] = {}
        self._damaged: dict[str, int] = {}
        self._notes: dict[str, list[str]] = {}
        self.failures: dict[str, VideoFailure] = {}
        """Videos that cannot be used, whatever their labels."""

        for record in records:
            if record.config == config:
                self.failures |= {
                    failure.video: failure
                    for failure in record.failures
                    if not failure.may_pass and not failure.reason.startswith(_OF_THIS_BUILD)
                }
                added = self._add(record.shards, record.samples, record.dropped)
                self._damaged |= {video: record.damaged.get(video, 0) for video in added}
                self._notes |= {video: record.notes.get(video, []) for video in added}
        self.duplicate_groups: dict[tuple[str, str], int] | None = None
        """Groups of the clips that were searched for copies; None: there was no search."""
        self.published = self._add_published(entry) if entry else frozenset[str]()
        """Names of the videos that `corpus.json` lists with at least one clip."""

    def __contains__(self, video: str) -> bool:
        return video in self._samples

    def end_s(self, video: str) -> float:
        """Return the end of a stored video, seconds."""
        ends = [sample.clip.start_s + sample.clip.duration_s for sample in self._samples[video]]
        return max([*ends, *(stretch.end_s for stretch in self._dropped[video])])

    def native_fps(self, video: str) -> float:
        """Return the frame rate of a stored video, 1/s."""
        return self._samples[video][0].clip.native_fps

    def restore(self, video: str, folder: Path) -> EncodedVideo:
        """Copy the clips of a stored video into a folder, as if it had just been encoded.

        Args:
            video: Name of the video.
            folder: Folder for the clips, which appears complete or not at all.

        Raises:
            ShardError: A stored clip is damaged.
        """
        return spool_video(folder, partial(self._copy, video))

    def _copy(self, video: str, folder: Path) -> EncodedVideo:
        clips = []
        for number, sample in enumerate(self._samples[video]):
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

        clip = self._samples[video][0].clip
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
            end_s=self.end_s(video),
            dropped=self._dropped[video],
            complaints=self._damaged.get(video, 0),
            notes=self._notes.get(video, []),
        )

    def _read(self, sample: Sample) -> bytes:
        name = f"{self._source}/{sample.shard}"
        mp4 = self._store.read_range(name, sample.mp4_offset, sample.mp4_size)
        if hashlib.sha256(mp4).hexdigest() != sample.sha256:
            raise ShardError(
                f"{self._store.locate(name)}: {sample.key} does not have the digest of the index, "
                "so it cannot be packed again; copy the shard again, or remove it to encode its "
                "videos again"
            )
        return mp4

    def _add_published(self, entry: SourceEntry) -> frozenset[str]:
        try:
            source = Source.open(self._store, self._source, entry)
            dropped = source.dropped()
        except MissingError:  # a table was lost: only the records are left
            return frozenset()
        videos = source.index.column("video").to_pylist()
        samples = [
            source.index.sample(row) for row, video in enumerate(videos) if video in self._wanted
        ]
        self.duplicate_groups = source.index.duplicate_groups()
        self._add(entry.shards, samples, dropped)
        return frozenset(videos)

    def _add(
        self, shards: Iterable[Shard], samples: Iterable[Sample], dropped: Iterable[Dropped]
    ) -> Collection[str]:
        """Add the wanted videos that are stored whole, with all of their shards. Return them."""
        shard_of = {shard.name: shard for shard in shards}
        by_video: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if self._wanted.get(sample.clip.video) == sample.clip.config:
                by_video[sample.clip.video].append(sample)

        usable = {
            video: sorted(clips, key=lambda sample: sample.clip.start_s)
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
