"""Saved plans: what each published source was built from. They are private."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.json_files import decode_json
from surgrec.manifest import Video
from surgrec.storage import make_owned_folder, open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PackSettings, PlannedVideo


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
        # The labels are saved, but not the files that they came from.
        videos = [
            replace(video, video=replace(video.video, labels=()), identity=None)
            for video in plan.videos
        ]
        unplanned = [
            replace(other, video=replace(other.video, labels=())) for other in plan.unplanned
        ]
        path = self._path(source, digest)
        partial = path.with_suffix(".partial")
        with writing_to(self._folder, MOVE_PRIVATE):
            with open_owned(partial, "w") as file:
                json.dump(
                    asdict(replace(plan, videos=videos, unplanned=unplanned)), file, default=str
                )
            partial.replace(path)

    def read(self, source: str, digest: str) -> SourcePlan | None:
        """Return the plan of a source with this digest, or None if the folder does not have it.

        Raises:
            StorageError: The file is damaged.
        """
        path = self._path(source, digest)
        try:
            with open_owned(path, "r") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        return decode_json(
            text,
            SourcePlan,
            str(path),
            error=StorageError,
            remedy="remove it, and run the build of this source again",
            file_names=True,
        )

    def remove(self, source: str, digest: str) -> None:
        """Remove the plan of a source, if it exists."""
        with writing_to(self._folder, MOVE_PRIVATE):
            self._path(source, digest).unlink(missing_ok=True)

    def _path(self, source: str, digest: str) -> Path:
        return self._folder / f"{source}-{digest[:16]}.json"
