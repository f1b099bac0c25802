"""Saved plans, from which the published sources were built. They are private.

Several corpora may share a private folder, so a plan is saved for one corpus.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.manifest import Video
from surgrec.shards.layout import CORPUS_FILE
from surgrec.storage import Store, make_owned_folder, open_owned
from surgrec.terminal import escape, say
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


class SavedPlans:
    """The plans of published sources of a corpus, in a private folder, named by their digests.

    Args:
        folder: Folder of the plans of all corpora.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._address = folder, store.address
        address = self._address.encode("utf-8", "surrogateescape")
        self._mark = hashlib.sha256(address).hexdigest()[:8]
        make_owned_folder(folder)

    def write(self, source: str, digest: str, plan: SourcePlan) -> None:
        """Save the plan of a source, before it is published."""
        # The labels are saved, but not the files that they came from, nor the list of pictures.
        videos = [
            replace(video, video=_without_files(video.video), identity=None)
            for video in plan.videos
        ]
        unplanned = [replace(other, video=_without_files(other.video)) for other in plan.unplanned]
        saved = replace(plan, videos=videos, unplanned=unplanned, corpus=self._address)
        write_private_json(self._path(source, digest), saved)

    def read(self, source: str, digest: str) -> SourcePlan | None:
        """Return the plan of a source with this digest, or None if the folder does not have it.

        A corpus that was copied has the plan of the other one. One that was moved takes it over,
        and the user is told: the plan is purged with this corpus from now on.

        Raises:
            StorageError: The file is damaged.
        """
        self._take_over(source, digest)
        own = self._path(source, digest)
        others = self._with_digest(source, digest)
        return _read(own if own.exists() or not others else others[0])

    def remove(self, source: str, digest: str) -> None:
        """Remove the plan of a source, if it exists."""
        self._take_over(source, digest)
        with writing_to(self._folder, MOVE_PRIVATE):
            self._path(source, digest).unlink(missing_ok=True)

    def files(self) -> list[Path]:
        """Return the files of this corpus, and unfinished ones."""
        return sorted({*self._folder.iterdir()} - self._of_others().keys())

    def of_other_corpora(self, names: Collection[str]) -> list[str]:
        """Return a sentence for each other corpus whose plans have videos with one of these names.

        Raises:
            StorageError: A file is damaged.
        """
        files = defaultdict(list)
        for path, address in self._of_others().items():
            with open_owned(path, "r") as file:
                text = file.read()
            if any(name in text for name in names):
                files[address].append(path)
        return [_also_stored(address, paths) for address, paths in sorted(files.items())]

    def _of_others(self) -> dict[Path, str]:
        """Return the files and the addresses of other corpora, which may be out of reach."""
        return {
            path: plan.corpus
            for path in self._folder.glob("*.json")
            if not path.stem.endswith(self._mark)
            and (plan := _read(path))
            and plan.corpus != self._address
        }

    def _take_over(self, source: str, digest: str) -> None:
        """Take over the plan of this corpus at its old address, if it was moved."""
        own = self._path(source, digest)
        for path in self._with_digest(source, digest):
            if own.exists() or not (plan := _read(path)) or _may_exist(plan.corpus):
                continue
            say(
                escape(
                    f"no corpus is at {plan.corpus}: {self._address} has the same source "
                    f"{source!r}, so it was moved, and its plan belongs to {self._address} now"
                )
            )
            with writing_to(self._folder, MOVE_PRIVATE):
                path.rename(own)

    def _with_digest(self, source: str, digest: str) -> list[Path]:
        """Return the plans of a source with a digest, whatever the corpus."""
        return sorted(self._folder.glob(f"{source}-{digest[:16]}-*.json"))

    def _path(self, source: str, digest: str) -> Path:
        return self._folder / f"{source}-{digest[:16]}-{self._mark}.json"


def _read(path: Path) -> SourcePlan | None:
    return read_private_json(
        path,
        SourcePlan,
        error=StorageError,
        remedy="remove it, and run the build of this source again",
    )


def _may_exist(address: str) -> bool:
    """Return whether a corpus may be at an address. Object stores are not asked."""
    return "://" in address or (Path(address) / CORPUS_FILE).exists()


def _also_stored(address: str, paths: Sequence[Path]) -> str:
    """Return a sentence about removed videos in the plans of another corpus."""
    again = "remove it there, too, with the same --private"
    if _may_exist(address):
        return f"also stored in {address}: {again}"
    files = ", ".join(map(str, sorted(paths)))
    return (
        f"also stored in {address}, where no corpus is now: if its disk is not mounted, mount it "
        f"and {again}; if the corpus was deleted or moved, delete {files}"
    )


def _without_files(video: Video) -> Video:
    """Return a video without the lists of its annotation files and of its pictures."""
    return replace(video, labels=(), pictures=None)
