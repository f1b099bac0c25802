"""What a build remembers of its finished groups, so that a killed one continues. Lives in the private folder."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surgrec.errors import MissingError
from surgrec.shards import Clip, Dropped, Sample, Shard
from surgrec.storage import Store
from surgrec_shard.disk import writing_to
from surgrec_shard.groups import Group


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A video that could not be used. Shows its path: for the hospital's report, never for the corpus."""

    path: Path
    source: str
    video: str
    """Its name in the corpus; empty when it could not even be read."""
    reason: str
    """One word, which the corpus may hold."""
    detail: str


@dataclass(frozen=True, kw_only=True)
class PackedGroup:
    """A group whose shards are in the store."""

    shards: list[Shard] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    damaged: dict[str, int] = field(default_factory=dict)
    """How many damaged places the decoder went around, for each video that has any."""


class GroupRecords:
    """Finished groups on disk, one file each, found by the group's digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with writing_to(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def write(self, group: Group, packed: PackedGroup) -> None:
        """Remembers a group. Call it after its shards are in the store."""
        partial = self._path(group).with_suffix(".partial")
        with writing_to(self._folder):
            partial.write_text(json.dumps(asdict(packed), default=str), encoding="utf-8")
            partial.replace(self._path(group))

    def read(self, group: Group, store: Store) -> PackedGroup | None:
        """A finished group, when all its shards are still in the store at their size; otherwise None."""
        path = self._path(group)
        if not path.is_file():
            return None
        try:
            packed = _packed_group(json.loads(path.read_text(encoding="utf-8")))
        except (
            ValueError,
            KeyError,
            TypeError,
        ):  # cut by a power failure, or of an earlier version: do it again
            return None
        return (
            packed
            if all(is_stored(store, group.source, shard) for shard in packed.shards)
            else None
        )

    def _path(self, group: Group) -> Path:
        return self._folder / f"{group.name}-{group.digest()[:16]}.json"


def _packed_group(row: dict[str, Any]) -> PackedGroup:
    return PackedGroup(
        shards=[Shard(**shard) for shard in row["shards"]],
        samples=[
            Sample(**(sample | {"clip": Clip(**sample["clip"])})) for sample in row["samples"]
        ],
        dropped=[Dropped(**dropped) for dropped in row["dropped"]],
        failures=[
            Failure(**(failure | {"path": Path(failure["path"])})) for failure in row["failures"]
        ],
        damaged=row["damaged"],
    )


def is_stored(store: Store, source: str, shard: Shard) -> bool:
    """Whether a shard and its offsets are in the store, the shard at its size."""
    name = f"{source}/{shard.name}"
    try:
        return store.size(name) == shard.bytes and store.exists(f"{name}.idx")
    except MissingError:
        return False
