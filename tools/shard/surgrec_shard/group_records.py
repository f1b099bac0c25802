"""Records of finished groups, with which a killed build continues. They are private."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.errors import MissingError, ShardError
from surgrec.shards import Dropped, Sample, Shard
from surgrec.storage import Store
from surgrec.terminal import escape, say
from surgrec_shard.corpus_files import CorpusFiles
from surgrec_shard.groups import Group
from surgrec_shard.private_json import read_private_json, write_private_json

OVERLAP = "overlap"
"""Reason of a video that overlaps a corpus for evaluation."""


@dataclass(frozen=True, kw_only=True)
class VideoFailure:
    """A video that could not be used. It shows a path, so it never enters the corpus."""

    path: Path
    source: str
    video: str
    """Name of the video in the corpus; empty if the file could not be read."""
    reason: str
    """One word, which the corpus may contain."""
    detail: str
    may_pass: bool = False
    """Whether a later build may succeed: the content of the file is not the reason."""


@dataclass(frozen=True, kw_only=True)
class PackedGroup:
    """A group whose shards are in the store."""

    config: str
    """Digest of the encoding settings."""
    shards: list[Shard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    failures: list[VideoFailure] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)
    """Number of damaged places that the decoder skipped, for each video that has any."""
    notes: dict[str, list[str]] = field(default_factory=dict)
    """Sentences for the private report, for each video that has any."""
    corpus: str = ""
    """Address of the corpus; empty before the record is written."""

    @property
    def is_final(self) -> bool:
        """Whether a later build of the same group would give the same result."""
        return not any(failure.may_pass for failure in self.failures)

    def video_ends(self) -> dict[str, float]:
        """Return the end of each packed video, seconds."""
        ends: dict[str, float] = {}
        for sample in self.samples:
            clip = sample.clip
            ends[clip.video] = max(ends.get(clip.video, 0.0), clip.start_s + clip.duration_s)
        for dropped in self.dropped:
            if dropped.video in ends:
                ends[dropped.video] = max(ends[dropped.video], dropped.end_s)
        return ends


def video_ends(groups: Iterable[PackedGroup]) -> dict[str, float]:
    """Return the end of each video of some groups, seconds, by its name in the corpus."""
    return {video: end_s for group in groups for video, end_s in group.video_ends().items()}


class GroupRecords:
    """Finished groups of a corpus in a folder, one file each, named by the group's digest.

    Args:
        folder: Folder of the records of all corpora.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._files, self._store = CorpusFiles(folder, store), store

    def write(self, group: Group, packed: PackedGroup) -> None:
        """Record a group whose shards are in the store."""
        record = replace(packed, corpus=self._files.address)
        write_private_json(self._files.own(_name(group)), record)

    def read(self, group: Group) -> PackedGroup | None:
        """Return a finished group, or None if it has no record or lacks a shard in the store."""
        packed = _read(self._files.find(_name(group)))
        if packed is None or not all(
            is_stored(self._store, group.source, shard) for shard in packed.shards
        ):
            return None
        return packed

    def of_source(self, source: str) -> Iterator[PackedGroup]:
        """Yield all finished groups of a source, also those of earlier plans and other corpora."""
        name = re.compile(rf"{source}-(train|val|test)-\d{{5}}-[0-9a-f]{{16}}-[0-9a-f]{{8}}\.json")
        for path in sorted(self._files.folder.glob(f"{source}-*.json")):
            packed = _read(path) if name.fullmatch(path.name) else None
            if packed is not None:
                yield packed


def _name(group: Group) -> str:
    return f"{group.name}-{group.digest()[:16]}"


def _read(path: Path) -> PackedGroup | None:
    try:
        remedy = "the group is packed again"
        return read_private_json(path, PackedGroup, error=ShardError, remedy=remedy)
    except ShardError as error:  # cut by a power failure, or written by an earlier version
        say(f"[yellow]warning[/yellow] {escape(str(error))}")
        return None


def is_stored(store: Store, source: str, shard: Shard) -> bool:
    """Return whether the store has a shard in its full size, and its offset file."""
    name = f"{source}/{shard.name}"
    try:
        return store.size(name) == shard.bytes and store.exists(f"{name}.idx")
    except MissingError:
        return False
