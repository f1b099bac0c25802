"""Saved plans, from which the published sources were built. They are private."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.manifest import Video
from surgrec.storage import make_owned_folder
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PackSettings, PlannedVideo
from surgrec_shard.private_json import read_private_json, write_private_json


@dataclass(frozen=True, kw_only=True)
class UnplannedVideo:
    """A video without clips: it could not be read, or it has the bytes of another one."""

    video: Video
    failure: VideoFailure


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """The videos of one source, and how they are stored."""

    config: str
    """Digest of the encoding settings."""
    pack: PackSettings
    videos: list[PlannedVideo]
    unplanned: list[UnplannedVideo] = field(default_factory=list)


class SavedPlans:
    """The plans of published sources, in a private folder, named by their digests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_owned_folder(folder)

    def write(self, source: str, digest: str, plan: SourcePlan) -> None:
        """Save the plan of a source, before it is published."""
        # The labels are saved, but not the files that they came from, nor the list of pictures.
        videos = [
            replace(video, video=_without_files(video.video), identity=None)
            for video in plan.videos
        ]
        unplanned = [replace(other, video=_without_files(other.video)) for other in plan.unplanned]
        saved = replace(plan, videos=videos, unplanned=unplanned)
        write_private_json(self._path(source, digest), saved)

    def read(self, source: str, digest: str) -> SourcePlan | None:
        """Return the plan of a source with this digest, or None if the folder does not have it.

        Raises:
            StorageError: The file is damaged.
        """
        return read_private_json(
            self._path(source, digest),
            SourcePlan,
            error=StorageError,
            remedy="remove it, and run the build of this source again",
        )

    def remove(self, source: str, digest: str) -> None:
        """Remove the plan of a source, if it exists."""
        with writing_to(self._folder, MOVE_PRIVATE):
            self._path(source, digest).unlink(missing_ok=True)

    def _path(self, source: str, digest: str) -> Path:
        return self._folder / f"{source}-{digest[:16]}.json"


def _without_files(video: Video) -> Video:
    """Return a video without the lists of its annotation files and of its pictures."""
    return replace(video, labels=(), pictures=None)
