"""The tasks of a build: to encode a video, to copy its stored clips, to pack a group.

Tasks can be pickled, and hold all they need: an engine may run them on another machine.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from surgrec.recordings.decoders import Decoders
from surgrec.shards import Dropped
from surgrec.storage import Store
from surgrec_shard.curation import Curation
from surgrec_shard.encode import EncodedVideo, EncodeSettings, encode_video
from surgrec_shard.group_records import GroupRecord, VideoFailure
from surgrec_shard.groups import Group, PlannedVideo
from surgrec_shard.label_checks import require_fitting_labels, require_fitting_list
from surgrec_shard.pack import pack_group


@dataclass(frozen=True, kw_only=True)
class EncodeTask:
    """Encodes a video into a folder."""

    video: PlannedVideo
    settings: EncodeSettings
    curation: Curation
    folder: Path

    def __call__(self, decoders: Decoders) -> EncodedVideo:
        """Return the clips. Raises BadVideoError and StorageError."""
        with decoders.one_for_a_video():
            return encode_video(
                self.video.video.path,
                self.settings,
                self.folder,
                self.video.identity,
                partial(_require_fitting, self.video),
                self.video.video.pictures,
                self.curation,
                decoders,
            )


@dataclass(frozen=True, kw_only=True)
class PackTask:
    """Packs a group into shards of a store."""

    group: Group
    encoded: Mapping[str, EncodedVideo]
    """Encoded videos by name."""
    failures: list[VideoFailure]
    """The other videos of the group."""
    config: str
    """Digest of the encoding settings."""
    shard_bytes: int
    """Largest size of a shard."""
    store: Store
    """The corpus root."""
    work: Path
    """Folder for the shard being written."""

    def __call__(self, decoders: Decoders) -> GroupRecord:
        """Return the group. Raises StorageError."""
        shards, samples = pack_group(
            self.group,
            self.encoded,
            config=self.config,
            shard_bytes=self.shard_bytes,
            store=self.store,
            work=self.work,
        )

        # Dropped: stretches without clips, and whole videos that could not be used.
        stretches = [
            Dropped(video=name, **asdict(stretch))
            for name, video in self.encoded.items()
            for stretch in video.dropped
        ]
        whole_videos = [
            Dropped(video=failure.video, start_s=0.0, end_s=0.0, reason=failure.reason)
            for failure in self.failures
        ]

        encoded = self.encoded.items()
        return GroupRecord(
            config=self.config,
            shards=shards,
            samples=samples,
            dropped=stretches + whole_videos,
            failures=self.failures,
            damaged={name: video.complaints for name, video in encoded if video.complaints},
            notes={name: video.notes for name, video in encoded if video.notes},
        )


def _require_fitting(video: PlannedVideo, end_s: float, fps: float) -> None:
    """Refuse labels and a list of stretches that are not those of the video."""
    require_fitting_labels(video, end_s, fps)
    require_fitting_list(video, end_s)
