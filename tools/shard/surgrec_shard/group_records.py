"""Records of finished groups, with which a killed build continues. They are private."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from surgrec.errors import MissingError, ShardError
from surgrec.shards import Dropped, Sample, Shard
from surgrec.storage import Store
from surgrec.terminal import escape, warn
from surgrec_shard.corpus_files import CorpusFiles
from surgrec_shard.groups import Group
from surgrec_shard.private_json import read_private_json, write_private_json

OVERLAP = "overlap"
"""Reason of a video that overlaps a corpus for evaluation."""
_AGAIN = "run the same command again: it packs the group anew"


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
    """A group whose shards are in the store. Its samples are in its record, not in memory."""

    shards: list[Shard]
    ends: dict[str, float]
    """End of each video with clips, seconds."""
    dropped: list[Dropped]
    failures: list[VideoFailure]
    damaged: dict[str, int]
    """Number of damaged places that the decoder skipped, for each video that has any."""
    notes: dict[str, list[str]]
    """Sentences for the private report, for each video that has any."""

    @property
    def is_final(self) -> bool:
        """Whether a later build of the same group would give the same result."""
        return not any(failure.may_pass for failure in self.failures)


@dataclass(frozen=True, kw_only=True)
class GroupRecord:
    """The record of a packed group, with its samples."""

    config: str
    """Digest of the encoding settings."""
    shards: list[Shard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    failures: list[VideoFailure] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)
    corpus: str = ""
    """Address of the corpus; empty before the record is written."""

    def packed(self) -> PackedGroup:
        """Return the group without its samples."""
        ends: dict[str, float] = {}
        for sample in self.samples:
            clip = sample.clip
            ends[clip.video] = max(ends.get(clip.video, 0.0), clip.start_s + clip.duration_s)
        for dropped in self.dropped:
            if dropped.video in ends:
                ends[dropped.video] = max(ends[dropped.video], dropped.end_s)

        return PackedGroup(
            shards=self.shards,
            ends=ends,
            dropped=self.dropped,
            failures=self.failures,
            damaged=self.damaged,
            notes=self.notes,
        )


def video_ends(groups: Iterable[PackedGroup]) -> dict[str, float]:
    """Return the end of each video of some groups, seconds, by its name in the corpus."""
    return {video: end_s for group in groups for video, end_s in group.ends.items()}


class GroupRecords:
    """Finished groups of a corpus in a folder, one file each, named by the group's digest.

    Args:
        folder: Folder of the records of all corpora.
        store: The corpus root.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._files, self._store = CorpusFiles(folder, store), store

    def write(self, group: Group, record: GroupRecord) -> None:
        """Record a group whose shards are in the store."""
        record = replace(record, corpus=self._files.address)
        write_private_json(self._files.own(_name(group)), record)

    def read(self, group: Group) -> PackedGroup | None:
        """Return a finished group, or None if no record is final, or the store lacks a shard."""
        record = _read(self._files.find(_name(group)))
        if record is None or not all(
            is_stored(self._store, group.source, shard) for shard in record.shards
        ):
            return None
        packed = record.packed()
        return packed if packed.is_final else None

    def samples(self, group: Group) -> list[Sample]:
        """Return the samples of a recorded group.

        Raises:
            ShardError: Its record is missing or damaged.
        """
        path = self._files.find(_name(group))
        record = read_private_json(path, GroupRecord, error=ShardError, remedy=_AGAIN)
        if record is None:
            raise ShardError(f"{path} is missing; {_AGAIN}")
        return record.samples

    def of_source(self, source: str) -> Iterator[GroupRecord]:
        """Yield all finished groups of a source, also those of earlier plans and other corpora."""
        name = re.compile(rf"{source}-(train|val|test)-\d{{5}}-[0-9a-f]{{16}}-[0-9a-f]{{8}}\.json")
        for path in sorted(self._files.folder.glob(f"{source}-*.json")):
            record = _read(path) if name.fullmatch(path.name) else None
            if record is not None and record.packed().is_final:
                yield record


def _name(group: Group) -> str:
    return f"{group.name}-{group.digest()[:16]}"


def _read(path: Path) -> GroupRecord | None:
    try:
        remedy = "the group is packed again"
        return read_private_json(path, GroupRecord, error=ShardError, remedy=remedy)
    except ShardError as error:  # cut by a power failure, or written by an earlier version
        warn(escape(str(error)))
        return None


def is_stored(store: Store, source: str, shard: Shard) -> bool:
    """Return whether the store has a shard in its full size, and its offset file."""
    name = f"{source}/{shard.name}"
    try:
        return store.size(name) == shard.bytes and store.exists(f"{name}.idx")
    except MissingError:
        return False
