"""Saved plans, from which the published sources were built. They are private.

Several corpora may share a private folder, so a plan is saved for one corpus.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.manifest import Video
from surgrec.storage import Store
from surgrec.terminal import escape, say
from surgrec_shard.corpus_files import CorpusFiles, may_exist
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
    corpus: str = ""
    """Address of the corpus; empty before the plan is saved."""
    split_rule: str = ""
    """Published split that the stored splits follow, with its status; empty: none is known."""


RECORDS = ("groups", "overlaps")
"""Folders beside that of the plans, with the records of finished groups and of overlaps."""


class SavedPlans:
    """The plans of published sources of a corpus, in a private folder, named by their digests.

    Args:
        folder: Folder of the plans of all corpora.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._files = CorpusFiles(folder, store)
        self._records = [CorpusFiles(folder.parent / name, store) for name in RECORDS]

    def write(self, source: str, digest: str, plan: SourcePlan) -> None:
        """Save the plan of a source, before it is published."""
        # The labels are saved, but not the files that they came from, nor the list of pictures.
        videos = [
            replace(video, video=_without_files(video.video), identity=None)
            for video in plan.videos
        ]
        unplanned = [replace(other, video=_without_files(other.video)) for other in plan.unplanned]
        saved = replace(plan, videos=videos, unplanned=unplanned, corpus=self._files.address)
        write_private_json(self._files.own(_name(source, digest)), saved)

    def read(self, source: str, digest: str) -> SourcePlan | None:
        """Return the plan of a source with this digest, or None if the folder does not have it.

        A corpus that was copied has the plan of the other one. One that was moved takes it over,
        and the user is told: the plan is purged with this corpus from now on.

        Raises:
            StorageError: The file is damaged.
        """
        self._take_over(source, digest)
        return _read(self._files.find(_name(source, digest)))

    def remove(self, source: str, digest: str) -> None:
        """Remove the plan of a source, if it exists."""
        self._take_over(source, digest)
        with writing_to(self._files.folder, MOVE_PRIVATE):
            self._files.own(_name(source, digest)).unlink(missing_ok=True)

    def _take_over(self, source: str, digest: str) -> None:
        """Take over the plan and the records of this corpus at its old address, if it was moved."""
        address, own = self._files.address, self._files.own(_name(source, digest))
        for path in self._files.named(_name(source, digest)):
            if own.exists() or not (plan := _read(path)) or may_exist(plan.corpus):
                continue
            say(
                escape(
                    f"no corpus is at {plan.corpus}: {address} has the same source {source!r}, so "
                    f"it was moved, and its plan belongs to {address} now"
                )
            )
            for files in (*self._records, self._files):
                files.take_over(source, plan.corpus)


def _name(source: str, digest: str) -> str:
    return f"{source}-{digest[:16]}"


def _read(path: Path) -> SourcePlan | None:
    return read_private_json(
        path,
        SourcePlan,
        error=StorageError,
        remedy="remove it, and run the build of this source again",
    )


def _without_files(video: Video) -> Video:
    """Return a video without the lists of its annotation files and of its pictures."""
    return replace(video, labels=(), pictures=None)
