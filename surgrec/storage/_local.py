"""Files in a folder on a disk or a network share."""

import errno
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar

from surgrec.deadline import Deadline
from surgrec.errors import MissingError, StorageError
from surgrec.regular_files import check_mode, open_after_lease
from surgrec.storage._blocked import in_the_way
from surgrec.storage._owner_file import check_owned
from surgrec.storage._retry import RetryPolicy
from surgrec.storage._store import TEMPORARY, TOO_SHORT, Store, check_range
from surgrec.storage.lock import hold
from surgrec.watch import watched

LOCK = f"{TEMPORARY}lock"
"""Locked while a file is replaced under a condition."""
ABANDONED_S = 3600.0
"""Seconds without a write after which a temporary file belongs to a killed process."""
COPY_BYTES = 1 << 20
READ_BYTES = 16 << 20
"""Most bytes of one read: each read is progress."""
ENTRY_BYTES = 4096
"""Progress of each file in a listing, bytes."""

ResultType = TypeVar("ResultType")
_replacing = threading.Lock()
"""A lock of the kernel belongs to a process, so its threads need another one."""


class LocalStore(Store):
    """A folder. Links inside it are followed."""

    def __init__(self, address: str, policy: RetryPolicy) -> None:
        super().__init__(os.path.abspath(os.path.expanduser(address)))
        self.policy = policy

    @property
    def is_local(self) -> bool:
        """Return True: the address is a path."""
        return True

    def read(self, name: str) -> bytes:
        """Read the whole file."""
        path = self._path(name)
        return self._count(self._watched(self.locate(name), partial(_read, path, 0, None)))

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        """Read the range with pread."""
        context, path = self.locate(name), self._path(name)
        check_range(offset, size, context)
        data = self._watched(context, partial(_read, path, offset, size))
        if len(data) < size:
            raise StorageError(f"{context} {TOO_SHORT}")
        return self._count(data)

    def size(self, name: str) -> int:
        """Return the size from stat."""
        return self._stat(name).st_size

    def version(self, name: str) -> str:
        """Return size, modification time and inode as one text."""
        status = self._stat(name)
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def list(self, prefix: str = "") -> list[str]:
        """List the files below the folder, without temporary ones."""
        folder = self._folder(prefix)
        paths = self._watched(folder, partial(_list, Path(folder)))
        names = (path.relative_to(self.address).as_posix() for path in paths)
        return sorted(name for name in names if name.startswith(prefix))

    def write(self, name: str, data: bytes) -> None:
        """Write through a temporary file and a rename."""
        self._replace(name, len(data), lambda file: file.write(data))

    def replace(self, name: str, data: bytes, version: str | None) -> bool:
        """Write through a temporary file and a rename, while no other process replaces a file."""
        folder = Path(self.address)
        with _as_storage_errors(self.address, writing_bytes=len(data)):
            folder.mkdir(parents=True, exist_ok=True)

        with _replacing, hold(folder, doing="replacing a file", name=LOCK):
            try:
                found = self.version(name)
            except MissingError:
                found = None

            if found == version:
                self.write(name, data)
            Path(folder, LOCK).unlink(missing_ok=True)
        return found == version

    def can_replace(self) -> bool:
        """Return True: the folder is locked meanwhile."""
        return True

    def upload(self, name: str, path: Path) -> None:
        """Copy through a temporary file and a rename."""
        with _as_storage_errors(str(path)):
            source = path.open("rb")
        with source:
            size = os.fstat(source.fileno()).st_size
            self._replace(name, size, lambda file: shutil.copyfileobj(source, file, COPY_BYTES))

    def delete(self, name: str) -> None:
        """Unlink the file, if it exists."""
        check_owned()
        with _as_storage_errors(self.locate(name)):
            self._path(name).unlink(missing_ok=True)

    def remove_unfinished(self, prefix: str) -> None:
        """Unlink temporary files, however new they are."""
        folder = Path(self._folder(prefix))
        with _as_storage_errors(self.address):
            for path in _files_below(folder):
                if path.name.startswith(TEMPORARY):
                    path.unlink(missing_ok=True)

    def check_writable(self) -> None:
        """Raise StorageError if nothing can be written; remove files of killed processes."""
        super().check_writable()
        with _as_storage_errors(self.address):
            for path in _files_below(Path(self.address)):
                if path.name.startswith(TEMPORARY):
                    _remove_if_abandoned(path)

    def _stat(self, name: str) -> os.stat_result:
        path = self._path(name)

        def of_regular_file(_: Deadline) -> os.stat_result:
            status = path.stat()
            check_mode(status.st_mode, path)
            return status

        return self._watched(self.locate(name), of_regular_file)

    def _watched(self, context: str, read: Callable[[Deadline], ResultType]) -> ResultType:
        """Return the result of a read. A dead disk or network share may not answer for ever."""
        deadline = Deadline(self.policy.deadline_s)
        try:
            with _as_storage_errors(context):
                return watched(partial(read, deadline), deadline)
        except TimeoutError as error:
            raise StorageError(
                f"{context} cannot be read: its disk or network share has not answered for "
                f"{self.policy.deadline_s:g} s; check it, and run again"
            ) from error

    def _path(self, name: str) -> Path:
        return Path(self.address, name)

    def _count(self, data: bytes) -> bytes:
        self.counters.add(requests=1, bytes_read=len(data))
        return data

    def _replace(self, name: str, size: int, fill: Callable[[BinaryIO], object]) -> None:
        """Fill a temporary file beside the target, sync it, then rename it to the target.

        Args:
            name: Name of the target.
            size: Bytes that will be written, for messages.
            fill: Writes the bytes into an open file.
        """
        check_owned()
        context, target = self.locate(name), self._path(name)
        temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")

        with _as_storage_errors(context, writing_bytes=size):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    fill(file)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(target.parent)


@contextmanager
def _as_storage_errors(context: str, writing_bytes: int | None = None) -> Iterator[None]:
    """Turn an OSError into a StorageError with one sentence.

    Args:
        context: Address of the file or folder.
        writing_bytes: Bytes that a write needs; None for reads.
    """
    try:
        yield
    except TimeoutError:
        raise
    except OSError as error:
        if writing_bytes is None and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            raise MissingError(
                f"{context} does not exist or is not a file; check the address"
            ) from error

        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"disk full writing {context}: {writing_bytes} bytes needed; "
                "free space and run again"
            ) from error

        if found := in_the_way(Path(error.filename or context), error):
            raise StorageError(f"{found}, or choose another folder") from error

        reason = error.strerror or str(error)
        raise StorageError(
            f"{context}: {reason}; check the folder, its permissions and its disk"
        ) from error


def _read(path: Path, offset: int, size: int | None, deadline: Deadline) -> bytes:
    """Return `size` bytes, fewer only at the end of the file; all of them if the size is None."""
    # Open the file anew every time: 1 us, where reading 100 kB from the page cache takes 8 us.
    descriptor = open_after_lease(path)
    try:
        # A damaged index may ask for more bytes than memory holds.
        end = os.fstat(descriptor).st_size
        left = end - offset if size is None else min(size, end - offset)

        # A single pread may return fewer bytes than there are.
        parts = []
        while left > 0 and (part := os.pread(descriptor, min(left, READ_BYTES), offset)):
            parts.append(part)
            deadline.add(len(part))
            offset, left = offset + len(part), left - len(part)
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _list(folder: Path, deadline: Deadline) -> list[Path]:
    paths = []
    for path in _files_below(folder):
        deadline.add(ENTRY_BYTES)
        if not path.name.startswith(TEMPORARY):
            paths.append(path)
    return paths


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder; nothing if the folder does not exist.

    A link to a folder above itself is not followed, as the way would never end.
    """
    pending: list[tuple[Path, frozenset[tuple[int, int]]]] = []
    if folder.exists():
        pending.append((folder, frozenset()))

    while pending:
        parent, above = pending.pop()
        status = parent.stat()
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            continue
        with os.scandir(parent) as entries:
            for entry in entries:
                if _is_folder(entry):
                    pending.append((Path(entry.path), above | {identity}))
                else:
                    yield Path(entry.path)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _remove_if_abandoned(temporary: Path) -> None:
    with suppress(FileNotFoundError):  # its writer is alive and has just finished
        if time.time() - temporary.stat().st_mtime > ABANDONED_S:
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Sync a folder's entries to the disk: without it a power failure may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
