"""Removals that have begun: with this record, a killed one is finished. It is private."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage import Store, make_owned_folder
from surgrec_shard.disk import MOVE_PRIVATE, writing_to
from surgrec_shard.private_json import read_private_json, write_private_json


@dataclass(frozen=True, kw_only=True)
class RemovedVideos:
    """Videos and cases that leave a corpus."""

    videos: dict[str, list[str]] = field(default_factory=dict)
    """Names in the corpus, by source. A source may have none: its files could not be read."""
    cases: dict[str, list[str]] = field(default_factory=dict)
    """Cases without any further video, as the hospital names them, by source."""

    def joined(self, other: "RemovedVideos") -> "RemovedVideos":
        """Return the videos and cases of both."""
        return RemovedVideos(
            videos=_joined(self.videos, other.videos), cases=_joined(self.cases, other.cases)
        )


class BegunRemoval:
    """The record of the begun removal from one corpus, in a private folder.

    Args:
        folder: Folder of the records.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        make_owned_folder(folder)
        name = hashlib.sha256(store.address.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self._path = folder / f"{name}.json"

    def read(self) -> RemovedVideos:
        """Return the videos of a removal that has not ended.

        Raises:
            StorageError: The record is damaged.
        """
        remedy = "remove it, and run the removal again"
        begun = read_private_json(self._path, RemovedVideos, error=StorageError, remedy=remedy)
        return begun or RemovedVideos()

    def begin(self, removed: RemovedVideos) -> None:
        """Record the videos before any of them is removed."""
        write_private_json(self._path, removed)

    def end(self) -> None:
        """Remove the record, after its videos were removed."""
        with writing_to(self._folder, MOVE_PRIVATE):
            self._path.with_suffix(".partial").unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)


def _joined(
    first: Mapping[str, Collection[str]], second: Mapping[str, Collection[str]]
) -> dict[str, list[str]]:
    return {
        source: sorted({*first.get(source, ()), *second.get(source, ())})
        for source in sorted({*first, *second})
    }
