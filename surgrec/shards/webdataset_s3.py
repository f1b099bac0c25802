"""Plain webdataset on `s3://` addresses, with the retries and the settings of our stores:

from surgrec.shards import webdataset_s3
webdataset_s3.register()
webdataset.WebDataset("s3://bucket/corpus/cholec80/cholec80-train-00000{000..011}.tar", shardshuffle=False)
"""

import io
from typing import Any

import webdataset

from surgrec.errors import ShardError
from surgrec.storage import Store, open_store

_READ_BYTES = 4 << 20
"""Of one request: a shard is a few dozen of them, and memory holds one."""


def register() -> None:
    """Lets webdataset read `s3://` addresses through our stores, in this process and those forked from it."""
    webdataset.gopen_schemes["s3"] = open_s3


def open_s3(url: str, mode: str = "rb", bufsize: int = -1, **options: Any) -> io.BufferedReader:
    """A file of an object store, read from its beginning to its end; what webdataset calls.

    Raises:
        ShardError: It is to be written; `surgrec-shard build` writes shards.
        StorageError: It cannot be read.
    """
    if mode != "rb":
        raise ShardError(
            f"{url} cannot be opened with mode {mode!r}; it is only read here, surgrec-shard build writes"
        )
    address, _, name = url.rpartition("/")
    return io.BufferedReader(_StoredFile(open_store(address), name), _READ_BYTES)


class _StoredFile(io.RawIOBase):
    """A file of a store as Python reads files."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._size = store.size(name)
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), self._size - self._position)
        buffer[:size] = self._store.read_range(self._name, self._position, size)
        self._position += size
        return size
