"""Parts of a build: several processes encode and pack its groups, and need not know of each other.

The groups of a part depend only on the plan. A process claims a group before it encodes it, so the
same part may run twice at once.
"""

import heapq
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from surgrec.errors import ConfigError
from surgrec.storage import make_owned_folder
from surgrec.storage.lock import FolderLock, try_hold
from surgrec_shard.group_records import GroupRecords, PackedGroup, VideoFailure
from surgrec_shard.groups import Group
from surgrec_shard.packing import bytes_of

_WAIT_S = 2.0
_PART = re.compile(r"([1-9]\d{0,5})/([1-9]\d{0,5})")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One of several parts of a build."""

    number: int
    """From 1."""
    count: int

    def first_of(self, items: int) -> int:
        """Return the index of the first of some items that this part should read."""
        return items * (self.number - 1) // self.count

    def share(self, groups: Sequence[Group]) -> set[str]:
        """Return the names of the groups of this part: about as many bytes as in the others.

        Args:
            groups: All groups of a build, also those that are packed.
        """
        sized = [(sum(map(bytes_of, group.videos)), group.name) for group in groups]
        loads = [(0, number) for number in range(1, self.count + 1)]
        names = set()
        for size, name in sorted(sized, key=lambda each: (-each[0], each[1])):
            load, number = heapq.heappop(loads)
            heapq.heappush(loads, (load + size, number))
            if number == self.number:
                names.add(name)
        return names


def parse_part(text: str) -> Part:
    """Return a part from `I/N`.

    Raises:
        ConfigError: The text is something else.
    """
    found = _PART.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ConfigError(f"--part is {text!r}; give I/N, such as 2/8, with an I from 1 to N")
    return Part(number=int(found[1]), count=int(found[2]))


@dataclass(frozen=True, kw_only=True)
class PartResult:
    """The groups of a part after it has ended."""

    groups: int
    all_groups: int
    """Groups of the whole build."""
    failures: list[VideoFailure] = field(default_factory=list)
    """Videos of these groups that cannot be used."""


class Claims:
    """Claims on groups, which hold until this process ends or releases them.

    Args:
        folder: Folder of the claims, which all processes share.
        records: The finished groups.
    """

    def __init__(self, folder: Path, records: GroupRecords) -> None:
        self._folder, self._records = folder, records
        self._held: dict[str, FolderLock] = {}
        self.finished: dict[str, PackedGroup] = {}
        """Groups that other processes have packed meanwhile, by name."""
        make_owned_folder(folder)

    def claim(self, groups: Sequence[Group], taken: list[Group]) -> Iterator[Group]:
        """Claim groups and yield them, but not those that are finished.

        Args:
            groups: The groups.
            taken: Gets the groups that another process has claimed.
        """
        for group in groups:
            lock = try_hold(self._folder, name=_name(group))
            if lock is None:
                taken.append(group)
                continue

            # The lock is kept only for a group that is still to be done.
            with ExitStack() as undo:
                undo.callback(lock.release)
                record = self._records.read(group)
                if record is not None:
                    self.finished[group.name] = record
                    self._forget(group)
                    continue
                self._held[group.name] = lock
                undo.pop_all()
            yield group

    def release(self, group: Group) -> None:
        """Give up a claim."""
        self._forget(group)
        self._held.pop(group.name).release()

    def _forget(self, group: Group) -> None:
        (self._folder / _name(group)).unlink(missing_ok=True)


def wait_for_others() -> None:
    """Wait a moment for groups that other processes pack."""
    time.sleep(_WAIT_S)


def _name(group: Group) -> str:
    return f"{group.name}-{group.digest()[:16]}"
