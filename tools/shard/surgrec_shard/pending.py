"""Videos of published sources that the next build tries again, because their failure may pass."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.json_files import decode_json
from surgrec.storage import make_owned_folder, open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.group_records import VideoFailure
from surgrec_shard.groups import PlannedVideo, videos_digest


@dataclass(frozen=True, kw_only=True)
class Pending:
    """The videos of one source that a later build may still take."""

    plan: str
    """Digest of the plan that was published without them."""
    paths: list[str]
    """Files, and folders that could not be searched."""
    others: str
    """Digest of all other videos."""

    def fits(self, published_plan: str, videos: Sequence[PlannedVideo]) -> bool:
        """Return whether videos differ from a published plan in pending files only."""
        return self.plan == published_plan and self.others == _others(videos, self.paths)


class PendingVideos:
    """The pending videos of all sources, in a private folder, one file for each source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        make_owned_folder(folder)

    def read(self, source: str) -> Pending | None:
        """Return the pending videos of a source, or None if it has none.

        Raises:
            StorageError: The file is damaged.
        """
        path = self._path(source)
        try:
            with open_owned(path, "r") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        return decode_json(
            text, Pending, str(path), error=StorageError, remedy="remove it", file_names=True
        )

    def write(
        self,
        source: str,
        plan: str,
        videos: Sequence[PlannedVideo],
        failures: Collection[VideoFailure],
    ) -> None:
        """Record which failed videos a later build tries again.

        Call it before the plan is published: until then, the record has no effect.

        Args:
            source: Name of the source.
            plan: Digest of its plan.
            videos: Its planned videos.
            failures: Its failures. Those without a name were never hashed, so they may pass.
        """
        paths = sorted({str(video.path) for video in failures if video.may_pass or not video.video})
        pending = Pending(plan=plan, paths=paths, others=_others(videos, paths))
        partial = self._path(source).with_suffix(".partial")
        with writing_to(self._folder, MOVE_PRIVATE):
            if not paths:
                self._path(source).unlink(missing_ok=True)
                return
            with open_owned(partial, "w") as file:
                json.dump(asdict(pending), file)
            partial.replace(self._path(source))

    def _path(self, source: str) -> Path:
        return self._folder / f"{source}.json"


def _others(videos: Sequence[PlannedVideo], paths: Collection[str]) -> str:
    """Return the digest of the videos that are not pending, nor in a pending folder."""
    pending = {Path(path) for path in paths}
    return videos_digest(
        [
            video
            for video in videos
            if pending.isdisjoint((video.video.path, *video.video.path.parents))
        ]
    )
