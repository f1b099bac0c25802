"""The contract of every store."""

import math
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path

from surgrec.errors import MissingError, StorageError

TEMPORARY = ".tmp-"
"""A file whose name begins so is being written, or was when its process died. It is never listed."""
TOO_SHORT = "ends before the bytes asked for: it was cut short, or replaced after its index was written; build it again"


class Counters:
    """What was done in this process. Every thread counts on its own, so none waits and no count is lost."""

    def __init__(self) -> None:
        self._by_thread: dict[int, Counter[str]] = {}
        self._last: dict[str, float] = {}

    def add(self, **counts: int) -> None:
        """Counts on, as `add(requests=1)`."""
        self._by_thread.setdefault(threading.get_ident(), Counter()).update(counts)

    def total(self, name: str) -> int:
        """What was counted under a name: stores count `requests`, `retries` and `bytes_read`."""
        return sum(counts[name] for counts in list(self._by_thread.values()))

    def is_due(self, what: str, every_s: float) -> bool:
        """Whether this was not due in the last `every_s` seconds, in any thread; if so, it was just now."""
        now = time.monotonic()
        if now - self._last.get(what, -math.inf) < every_s:
            return False
        self._last[what] = now
        return True


class Store(ABC):
    """Complete files under names, below one address.

    A name is a relative POSIX path, such as `cholec80/index.parquet`. Every method raises StorageError for a name that
    could lead out of the store, and in all other cases where it cannot do what it says.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.counters = Counters()

    def locate(self, name: str) -> str:
        """The full address of a name, for messages."""
        return f"{self.address.rstrip('/')}/{check_name(name, self.address)}"

    @property
    @abstractmethod
    def is_local(self) -> bool:
        """Whether the store is a folder on this machine's file system, so that its address is a path."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """All bytes of a file. MissingError if it is not there."""

    @abstractmethod
    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Exactly `size` bytes from `offset` on; it is an error if the file ends before."""

    @abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file. MissingError if it is not there."""

    @abstractmethod
    def version(self, name: str) -> str:
        """Another text whenever another file takes this name. MissingError if there is none."""

    def exists(self, name: str) -> bool:
        """Whether a file has this name."""
        try:
            self.size(name)
        except MissingError:
            return False
        return True

    @abstractmethod
    def list(self, prefix: str = "") -> list[str]:
        """Names that begin with `prefix`, at any depth, sorted.

        A folder that does not exist lists as empty, as a prefix without objects does. A missing bucket is a MissingError.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Puts `data` under a name, in place of what was there: all of it or nothing, whenever the process dies."""

    @abstractmethod
    def upload(self, name: str, path: Path) -> None:
        """Puts a local file of any size under a name, as `write` does."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Removes a file. One that is not there is no error."""

    def check_writable(self) -> None:
        """Raises now, rather than after hours, if nothing can be written here."""
        probe = f"{TEMPORARY}write-check"
        self.write(probe, b"")
        self.delete(probe)

    def _folder(self, prefix: str) -> str:
        """The address of the innermost folder that holds every name that begins with `prefix`."""
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
    """The name itself, if it stays inside the store: names come from corpus files, which anybody may have written."""
    outward = any(part in ("", ".", "..") for part in name.split("/"))
    if outward or "\\" in name or not name.isprintable():
        raise StorageError(
            f"{name!r} cannot be a name in {address}; names are relative paths without '..' or '\\'"
        )
    return name


def check_range(offset: int, size: int, where: str) -> None:
    """Refuses a range that no file has, such as a damaged index gives."""
    if offset < 0 or size < 0:
        raise StorageError(f"{where} has no {size} bytes at {offset}; build its index again")
