"""Removals that have begun: with this record, a killed one is finished. It is private."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.json_files import decode_json
from surgrec.storage import Store, make_owned_folder, open_owned
from surgrec_shard.disk import MOVE_PRIVATE, writing_to


@dataclass(frozen=True, kw_only=True)
class RemovedVideos:
    """What leaves a corpus."""

    videos: dict[str, list[str]] = field(default_factory=dict)
    """Names in the corpus, by source. A source may have none: its files could not be read."""
    cases: dict[str, list[str]] = field(default_factory=dict)
    """Cases without any further video, as the hospital names them, by source."""

    def joined(self, other: "RemovedVideos") -> "RemovedVideos":
        """Return what leaves in both."""
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
        """Return what a removal that has not ended was to remove.

        Raises:
            StorageError: The record is damaged.
        """
        try:
            with open_owned(self._path, "r") as file:
                text = file.read()
        except FileNotFoundError:
            return RemovedVideos()
        return decode_json(
            text,
            RemovedVideos,
            str(self._path),
            error=StorageError,
            remedy="remove it, and run the removal again",
            file_names=True,
        )

    def begin(self, removed: RemovedVideos) -> None:
        """Record what is removed, before anything of it is."""
        partial = self._path.with_suffix(".partial")
        with writing_to(self._folder, MOVE_PRIVATE):
            with open_owned(partial, "w") as file:
                json.dump(asdict(removed), file)
            partial.replace(self._path)

    def end(self) -> None:
        """Remove the record: nothing of what it lists is left."""
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
