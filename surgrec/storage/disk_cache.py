"""Whole files of stores on a local disk, each under the SHA-256 of its bytes, never more of them than a limit.

The name says what a file must hold, so a file is right or wrong whoever wrote it: two jobs, two corpora and two buckets can share a
folder. Any process reads; one at a time adds and removes, the one that holds the folder's lock.
"""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import CacheError, StorageError
from surgrec.storage.digest import file_sha256
from surgrec.storage.lock import try_acquire
from surgrec.storage.store import TEMPORARY, Store

_SUFFIX = ".tar"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART_BYTES = 8 << 20
_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class WholeFile:
    """A file of a store, and what its bytes must be."""

    store: Store
    name: str
    bytes: int
    sha256: str


class DiskCache:
    """A folder of copies. Its limit counts what is complete and what is on the way."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def prepare(self) -> None:
        """Makes the folder, and raises now rather than in the middle of a run if nothing can be written there.

        Raises:
            CacheError: The folder cannot be made or written.
        """
        probe = self.folder / f"{TEMPORARY}write-check-{os.getpid()}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise CacheError(
                f"{self.folder}: {error.strerror}; choose a cache_dir on a local disk that can be written"
            ) from error

    def read_range(self, sha256: str, offset: int, size: int) -> bytes | None:
        """Exactly these bytes of a cached file; None where it is not there, not whole, or not readable.

        The caller checks them against the digest of what it wanted, and drops the file where they differ.
        """
        try:
            descriptor = os.open(self._path(sha256), os.O_RDONLY)
            try:
                data = os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError:  # gone meanwhile, or its disk fails: the store has the bytes
            return None
        if len(data) < size:
            with suppress(CacheError):
                self.drop(sha256)
            return None
        return data

    def drop(self, sha256: str) -> None:
        """Removes a file. Who reads it at this moment keeps it; one that is not there is no error.

        Raises:
            CacheError: It cannot be removed.
        """
        path = self._path(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"{path}: {error.strerror}; remove it, or choose another cache_dir"
            ) from error

    def try_acquire(self) -> int | None:
        """Takes the right to add and remove until this process ends; None where another process has it.

        What killed processes left half-written is removed.
        """
        lock = try_acquire(self.folder)
        if lock is not None:
            for path in self.folder.glob(f"{TEMPORARY}*{_SUFFIX}"):
                path.unlink(missing_ok=True)
        return lock

    def files(self) -> dict[str, int]:
        """Bytes of each complete file, by SHA-256."""
        found = {}
        for entry in os.scandir(self.folder):
            if entry.name.endswith(_SUFFIX) and not entry.name.startswith(TEMPORARY):
                with suppress(FileNotFoundError):  # another process dropped it
                    found[entry.name.removesuffix(_SUFFIX)] = entry.stat().st_size
        return found

    def add(self, file: WholeFile, *, go_on: Callable[[], bool]) -> bool:
        """Copies a file from its store, checks it, and only then gives it its name. Needs the lock, and room below the limit.

        Args:
            file: What to copy.
            go_on: Asked between parts of some megabytes.

        Returns:
            Whether it is there; False if it was told not to go on.

        Raises:
            CacheError: The disk is full, or fails.
            StorageError: The store cannot be read, or what it has is not what the corpus says.
        """
        assert sum(self.files().values()) + file.bytes <= self.limit_bytes, (
            "room is made before a file is added"
        )
        partial = self.folder / f"{TEMPORARY}{file.sha256}{_SUFFIX}"
        try:
            with partial.open("xb") as opened:
                os.posix_fallocate(
                    opened.fileno(), 0, max(1, file.bytes)
                )  # a full disk says so now
                if not _download(file, opened.fileno(), go_on):
                    return False
                opened.truncate(file.bytes)
                os.fsync(opened.fileno())
            found = file_sha256(partial)
            if found != file.sha256:
                raise StorageError(
                    f"{file.store.locate(file.name)} has the SHA-256 {found[:12]}, its corpus says {file.sha256[:12]}; "
                    "run surgrec-shard verify"
                )
            partial.replace(self._path(file.sha256))
        except OSError as error:
            raise CacheError(
                f"{self.folder}: {error.strerror} while {file.bytes / 1e6:.0f} MB were added; free space there or lower cache_gb"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(
            sha256
        ):  # it comes from a corpus file, which anybody may have written
            raise StorageError(f"{sha256!r} is no SHA-256; build the corpus again")
        return self.folder / f"{sha256}{_SUFFIX}"


def _download(file: WholeFile, descriptor: int, go_on: Callable[[], bool]) -> bool:
    """All bytes of a file into an open one, several parts at a time. False if it was told not to go on."""

    def copy(start: int) -> bool:
        if not go_on():
            return False
        data = file.store.read_range(file.name, start, min(_PART_BYTES, file.bytes - start))
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], start + written)
        return True

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="cache") as threads:
        return all(threads.map(copy, range(0, file.bytes, _PART_BYTES)))
