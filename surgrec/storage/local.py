"""Files in a folder of a disk or of a network share."""

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from surgrec.errors import MissingError, StorageError
from surgrec.storage.store import TEMPORARY, TOO_SHORT, Store, check_range

ABANDONED_S = 3600.0
"""A temporary file that nobody wrote to for this long belongs to a process that was killed."""
COPY_BYTES = 1 << 20


class LocalStore(Store):
    """A folder. Links inside it are followed."""

    def __init__(self, address: str) -> None:
        super().__init__(os.path.abspath(os.path.expanduser(address)))

    @property
    def is_local(self) -> bool:
        return True

    def read(self, name: str) -> bytes:
        with _plain_errors(self.locate(name)):
            return self._count(self._path(name).read_bytes())

    def read_range(self, name: str, offset: int, size: int) -> bytes:
        where = self.locate(name)
        check_range(offset, size, where)
        with _plain_errors(where):
            # Opened anew every time: 1 us, where reading a sample of 100 kB from the page cache takes 8.
            descriptor = os.open(self._path(name), os.O_RDONLY)
            try:
                data = _pread(descriptor, offset, size)
            finally:
                os.close(descriptor)
        if len(data) < size:
            raise StorageError(f"{where} {TOO_SHORT}")
        return self._count(data)

    def size(self, name: str) -> int:
        return self._status(name).st_size

    def version(self, name: str) -> str:
        status = self._status(name)
        return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"

    def list(self, prefix: str = "") -> list[str]:
        folder = self._folder(prefix)
        with _plain_errors(folder):
            paths = [path for path in _walk(Path(folder)) if not path.name.startswith(TEMPORARY)]
        names = (path.relative_to(self.address).as_posix() for path in paths)
        return sorted(name for name in names if name.startswith(prefix))

    def write(self, name: str, data: bytes) -> None:
        self._replace(name, len(data), lambda file: file.write(data))

    def upload(self, name: str, path: Path) -> None:
        with _plain_errors(str(path)):
            source = path.open("rb")
        with source:
            size = os.fstat(source.fileno()).st_size
            self._replace(name, size, lambda file: shutil.copyfileobj(source, file, COPY_BYTES))

    def delete(self, name: str) -> None:
        with _plain_errors(self.locate(name)):
            self._path(name).unlink(missing_ok=True)

    def check_writable(self) -> None:
        """As in every store. On the way, what killed processes left behind is removed."""
        super().check_writable()
        with _plain_errors(self.address):
            for path in _walk(Path(self.address)):
                if path.name.startswith(TEMPORARY):
                    _remove_abandoned(path)

    def _status(self, name: str) -> os.stat_result:
        where = self.locate(name)
        with _plain_errors(where):
            status = self._path(name).stat()
        if not stat.S_ISREG(status.st_mode):
            raise MissingError(f"{where} is not a file; check the address")
        return status

    def _path(self, name: str) -> Path:
        return Path(self.address, name)

    def _count(self, data: bytes) -> bytes:
        self.counters.add(requests=1, bytes_read=len(data))
        return data

    def _replace(self, name: str, size: int, fill: Callable[[BinaryIO], object]) -> None:
        """Fills a temporary file in the same folder, brings it to the disk, and only then gives it its name."""
        where, target = self.locate(name), self._path(name)
        temporary = target.with_name(f"{TEMPORARY}{uuid.uuid4().hex}")
        with _plain_errors(where, writing_bytes=size):
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
def _plain_errors(where: str, writing_bytes: int | None = None) -> Iterator[None]:
    """Says in a sentence what the operating system reports; `writing_bytes` is what a write needs, None for a read."""
    try:
        yield
    except OSError as error:
        if writing_bytes is None and error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR):
            raise MissingError(
                f"{where} does not exist or is not a file; check the address"
            ) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"disk full writing {where}: {writing_bytes} bytes needed; free space and run again"
            ) from error
        reason = error.strerror or str(error)
        raise StorageError(
            f"{where}: {reason}; check the folder, its permissions and its disk"
        ) from error


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    """Up to `size` bytes, fewer only at the end of the file; a single pread may give fewer anywhere."""
    data = os.pread(descriptor, size, offset)
    while 0 < len(data) < size and (
        more := os.pread(descriptor, size - len(data), offset + len(data))
    ):
        data += more
    return data


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder; none if there is no such folder."""
    if folder.exists():
        for parent, _, names in os.walk(folder, onerror=_raise, followlinks=True):
            yield from (Path(parent, name) for name in names)


def _raise(error: OSError) -> None:
    raise error


def _remove_abandoned(temporary: Path) -> None:
    with suppress(FileNotFoundError):  # its writer was alive, and has finished meanwhile
        if time.time() - temporary.stat().st_mtime > ABANDONED_S:
            temporary.unlink()


def _sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk: without it a power cut may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
