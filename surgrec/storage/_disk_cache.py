"""A cache of whole files on a local disk, named by their SHA-256, below a size limit.

The name determines the content, so a file is right or wrong whichever process wrote it. Two jobs,
two corpora and two buckets can share a folder. Any process reads; only the process that holds the
folder's lock adds and removes.
"""

import os
import re
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import CacheError, StorageError
from surgrec.regular_files import open_regular
from surgrec.storage._digest import file_sha256
from surgrec.storage._store import TEMPORARY, Store
from surgrec.storage.lock import FolderLock, try_hold

_SUFFIX = ".tar"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART_BYTES = 8 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class WholeFile:
    """A file of a store with its expected size and digest."""

    store: Store
    name: str
    bytes: int
    sha256: str


class DiskCache:
    """A folder of copied files.

    Args:
        folder: Folder on a local disk.
        limit_bytes: Most bytes that it may hold, files being copied included.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self.limit_bytes = limit_bytes

    def prepare(self) -> None:
        """Create the folder and check that it can be written, before a run starts.

        A new folder is closed to other users. So are all files: they are patients' clips.

        Raises:
            CacheError: The folder cannot be created or written, or others can write it.
        """
        probe = self.folder / f"{TEMPORARY}write-check-{os.getpid()}"

        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()

            if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                raise CacheError(
                    f"{self.folder} belongs to another user, or others can write it; choose a "
                    "cache_dir of your own, such as a new folder in it"
                )

            probe.touch(mode=0o600)
            probe.unlink()
        except OSError as error:
            raise CacheError(
                f"{self.folder}: {error.strerror}; "
                "choose a cache_dir on a local disk that can be written"
            ) from error

    def read_range(self, sha256: str, offset: int, size: int) -> bytes | None:
        """Return exactly these bytes of a cached file, or None if it cannot provide them.

        It cannot if the file is missing, too short or unreadable. The caller must check the bytes
        against the digest of its sample, and drop the file if they differ.
        """
        try:
            descriptor = open_regular(self._path(sha256))
            try:
                if os.fstat(descriptor).st_uid != os.geteuid():
                    return None
                data = os.pread(descriptor, size, offset)
            finally:
                os.close(descriptor)
        except OSError:  # the file was dropped meanwhile or its disk fails: the store has the bytes
            return None

        if len(data) < size:
            with suppress(CacheError):
                self.drop(sha256)
            return None
        return data

    def drop(self, sha256: str) -> None:
        """Remove a file, if it exists. Processes that read it at this moment keep their open copy.

        Raises:
            CacheError: The file cannot be removed.
        """
        path = self._path(sha256)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"{path}: {error.strerror}; remove it, or choose another cache_dir"
            ) from error

    def try_hold(self) -> FolderLock | None:
        """Lock the folder for adding and removing until this process ends.

        Incomplete files of killed processes are removed.

        Returns:
            The lock; None if another process holds it.

        Raises:
            CacheError: The lock file cannot be written.
        """
        try:
            lock = try_hold(self.folder)
        except StorageError as error:
            raise CacheError(str(error)) from error
        if lock is not None:
            for path in self.folder.glob(f"{TEMPORARY}*{_SUFFIX}"):
                path.unlink(missing_ok=True)
        return lock

    def files(self) -> dict[str, int]:
        """Return the size in bytes of each complete file, by SHA-256."""
        sizes = {}
        for entry in os.scandir(self.folder):
            if entry.name.endswith(_SUFFIX) and not entry.name.startswith(TEMPORARY):
                with suppress(FileNotFoundError):  # another process dropped the file
                    sizes[entry.name.removesuffix(_SUFFIX)] = entry.stat().st_size
        return sizes

    def add(self, file: WholeFile, *, should_continue: Callable[[], bool]) -> bool:
        """Copy a file from its store, and check its digest before it gets its name.

        The caller must hold the lock, and must have made room below the limit.

        Args:
            file: The file to copy.
            should_continue: Called before each part of 8 MiB; if it returns False, the copy is
                abandoned.

        Returns:
            Whether the file was added; False if the copy was abandoned.

        Raises:
            CacheError: The disk is full or fails.
            StorageError: The store cannot be read, or its file does not have the expected digest.
        """
        assert sum(self.files().values()) + file.bytes <= self.limit_bytes, (
            "room must be made before a file is added"
        )

        partial = self.folder / f"{TEMPORARY}{file.sha256}{_SUFFIX}"
        try:
            # Reserve the whole size first, so that a full disk fails before anything is downloaded.
            with os.fdopen(os.open(partial, _NEW_FILE, 0o600), "wb") as opened:
                os.posix_fallocate(opened.fileno(), 0, max(1, file.bytes))
                if not _download(file, opened.fileno(), should_continue):
                    return False
                opened.truncate(file.bytes)
                os.fsync(opened.fileno())

            # Check the bytes that are on the disk, then publish them under their digest.
            sha256 = file_sha256(partial)
            if sha256 != file.sha256:
                raise StorageError(
                    f"{file.store.locate(file.name)} has the SHA-256 {sha256[:12]}, but its corpus "
                    f"lists {file.sha256[:12]}; run surgrec-shard verify"
                )
            partial.replace(self._path(file.sha256))

        except OSError as error:
            raise CacheError(
                f"{self.folder}: {error.strerror} while {file.bytes / 1e6:.0f} MB were added; "
                "free disk space, or lower cache_gb"
            ) from error
        finally:
            partial.unlink(missing_ok=True)
        return True

    def _path(self, sha256: str) -> Path:
        # A digest from a forged corpus file must not lead out of the folder.
        if not _SHA256.fullmatch(sha256):
            raise StorageError(
                f"the corpus lists the digest {sha256!r}, which is not a SHA-256; "
                "build the corpus again"
            )
        return self.folder / f"{sha256}{_SUFFIX}"


def _download(file: WholeFile, descriptor: int, should_continue: Callable[[], bool]) -> bool:
    """Copy a file into an open one, several parts at a time; return False if abandoned."""

    def copy_part(start: int) -> bool:
        if not should_continue():
            return False
        data = file.store.read_range(file.name, start, min(_PART_BYTES, file.bytes - start))
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], start + written)
        return True

    with ThreadPoolExecutor(_THREADS, thread_name_prefix="cache") as threads:
        return all(threads.map(copy_part, range(0, file.bytes, _PART_BYTES)))
