"""Plain webdataset on `s3://` addresses, with the retries and settings of SurgRec's stores.

Example:
    >>> from surgrec.shards import webdataset_s3
    >>> webdataset_s3.register()
    >>> source = open_corpus("s3://bucket/corpus")["cholec80"]
    >>> urls = [source.store.locate(f"cholec80/{shard.name}") for shard in source.entry.shards]
    >>> dataset = webdataset.WebDataset(urls, shardshuffle=False)
"""

import io
from typing import Any

import webdataset

from surgrec.errors import ShardError
from surgrec.storage import Store, open_store

_READ_BYTES = 4 << 20
"""Bytes per request. Memory holds the bytes of one request; a shard takes a few dozen."""


def register() -> None:
    """Let webdataset read `s3://` addresses, in this process and in processes forked from it."""
    webdataset.gopen_schemes["s3"] = open_s3


def open_s3(url: str, mode: str = "rb", bufsize: int = -1, **options: Any) -> io.BufferedReader:
    """Open a file of an object store for reading from beginning to end. webdataset calls this.

    Args:
        url: `s3://bucket/name`.
        mode: Must be `rb`.
        bufsize: Ignored; webdataset passes it.
        **options: Ignored; webdataset passes them.

    Raises:
        ShardError: The mode is not `rb`.
        StorageError: The file cannot be read.
    """
    if mode != "rb":
        raise ShardError(
            f"{url} cannot be opened with mode {mode!r}, only with 'rb'; write shards with "
            "surgrec-shard build"
        )
    address, _, name = url.rpartition("/")
    return io.BufferedReader(_StoredFile(open_store(address), name), _READ_BYTES)


class _StoredFile(io.RawIOBase):
    """A file of a store with the interface of Python's raw files."""

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
