"""The contract of every store, and the names that files may have."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

from surgrec.errors import MissingError, StorageError

TEMPORARY = ".tmp-"
"""Prefix of incomplete files: being written, or left by a dead process. They are never listed."""
TOO_SHORT = (
    "ends before the requested bytes: it was cut short, or replaced after its index was written; "
    "copy it again, or build the corpus again"
)


class Counters:
    """Counts of this process.

    Every thread has its own, so threads never wait and no count is lost.
    """

    def __init__(self) -> None:
        self._by_thread: dict[int, Counter[str]] = {}
        self._last: dict[str, float] = {}

    def add(self, **counts: int) -> None:
        """Add to counts, as in `add(requests=1)`."""
        self._by_thread.setdefault(threading.get_ident(), Counter()).update(counts)

    def total(self, name: str) -> int:
        """Return a count over all threads. Stores count `requests`, `retries` and `bytes_read`."""
        return sum(counts[name] for counts in list(self._by_thread.values()))

    def is_due(self, event: str, every_s: float) -> bool:
        """Return whether an event is due, `every_s` seconds after it last was, in any thread."""
        now = time.monotonic()
        if now - self._last.get(event, -math.inf) < every_s:
            return False
        self._last[event] = now
        return True


class Store(ABC):
    """Complete files under names, below one address.

    A name is a relative POSIX path, such as `cholec80/index.parquet`. Every method raises
    StorageError for a name that could lead out of the store, and whenever it cannot do its work.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.counters = Counters()

    def locate(self, name: str) -> str:
        """Return the full address of a name, for messages."""
        return f"{self.address.rstrip('/')}/{check_name(name, self.address)}"

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether the store is a folder, so that its address is a path."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return all bytes of a file. Raise MissingError if it does not exist."""

    @abstractmethod
    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes from `offset` on.

        Raise StorageError if the file ends before.
        """

    @abstractmethod
    def size(self, name: str) -> int:
        """Return the size of a file in bytes. Raise MissingError if it does not exist."""

    @abstractmethod
    def version(self, name: str) -> str:
        """Return a text that changes whenever the file is replaced.

        Raise MissingError if it does not exist.
        """

    def exists(self, name: str) -> bool:
        """Return whether a file has this name."""
        try:
            self.size(name)
        except MissingError:
            return False
        return True

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Return the names that begin with `prefix`, at any depth, sorted.

        A missing folder and a prefix without objects give an empty list. A missing bucket is a
        MissingError.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Write or replace a file.

        Either all of `data` appears or nothing, even if the process is killed.
        """

    @abstractmethod
    def replace(self, name: str, data: bytes, version: str | None) -> bool:
        """Write a file like `write`, but only if no other process has written it meanwhile.

        Args:
            name: Name of the file.
            data: Its new content.
            version: What `version` returned; None if the file did not exist.

        Returns:
            Whether it was written.
        """

    @abstractmethod
    def can_replace(self) -> bool:
        """Return whether `replace` is safe here: some object stores ignore its condition."""

    @abstractmethod
    def upload(self, name: str, path: Path) -> None:
        """Copy a local file of any size to a name, as atomically as `write`."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def remove_unfinished(self, prefix: str) -> None:
        """Remove the bytes of writes that were killed, under names that begin with `prefix`.

        A write that is still running fails.
        """

    def check_writable(self) -> None:
        """Raise StorageError now, rather than after hours, if nothing can be written here."""
        probe = f"{TEMPORARY}write-check"
        self.write(probe, b"")
        self.delete(probe)

    def _folder(self, prefix: str) -> str:
        """Return the address of the innermost folder that holds every name with this prefix."""
        check_name(f"{prefix}x", self.address)
        folder = prefix.rpartition("/")[0]
        return self.locate(folder) if folder else self.address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and other.address == self.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.address!r})"


def check_name(name: str, address: str) -> str:
    """Return the name if it stays inside the store.

    Names come from corpus files, which could be forged.

    Raises:
        StorageError: The name is empty or absolute, or has `.`, `..`, a backslash or an unprintable
            character in it.
    """
    leads_out = any(part in ("", ".", "..") for part in name.split("/"))
    if leads_out or "\\" in name or not name.isprintable():
        raise StorageError(
            f"{name!r} cannot name a file in {address}; use a relative path without '..' and '\\'"
        )
    return name


def check_range(offset: int, size: int, context: str) -> None:
    """Refuse a range that no file can have, such as one from a damaged index.

    Raises:
        StorageError: The offset or the size is negative.
    """
    if offset < 0 or size < 0:
        raise StorageError(
            f"{context}: the index asks for {size} bytes at byte {offset}, which no file has; "
            "build the corpus again"
        )
