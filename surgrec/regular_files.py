"""Open files for reading without waiting: a pipe, a socket or a link loop is an OSError.

A disk or network share that does not answer is one, too: see `read_regular`.
"""

import errno
import os
import stat
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

from surgrec.deadline import Deadline
from surgrec.watch import watched

ALLOWED_S = 300.0
"""Seconds for which a disk or network share may not answer."""
_PART_BYTES = 1 << 24
_KINDS = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class FileIdentity(NamedTuple):
    """Properties of a file that change if it is replaced or written."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    """Time of the last write even if a program set the modification time back."""

    def is_as(self, other: "FileIdentity") -> bool:
        """Return whether this is the same state of the file, perhaps as another machine sees it.

        Machines give a shared disk other device numbers.
        """
        return self._replace(device=0) == other._replace(device=0)

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """Return the identity of a file from its status, as `os.stat` gives it."""
        return cls(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )


def open_regular(path: str | os.PathLike[str]) -> int:
    """Return a descriptor of a regular file, opened for reading. It is closed by the caller.

    `open` would wait for ever for a writer of a named pipe.

    Raises:
        OSError: The file is missing, unreadable, or not a regular file. `strerror` says which.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        if error.errno == errno.ENXIO:  # "No such device or address": a socket
            check_mode(os.stat(path).st_mode, path)
        raise
    try:
        check_mode(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raise as `open_regular` does, for libraries that open the path themselves."""
    os.close(open_regular(path))


def read_regular(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file.

    Args:
        path: The file.
        limit: Largest size that is read, in bytes.

    Raises:
        OSError: As `open_regular`, or the file is larger than the limit, or its disk or network
            share does not answer.
    """
    deadline = Deadline(ALLOWED_S)
    try:
        return watched(partial(_read, path, limit, deadline), deadline)
    except TimeoutError as error:
        words = f"its disk or network share has not answered for {ALLOWED_S:g} s"
        raise TimeoutError(errno.ETIMEDOUT, words, str(path)) from error


def _read(path: Path, limit: int, deadline: Deadline) -> bytes:
    parts, left = [], limit + 1
    with os.fdopen(open_after_lease(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while size <= limit and left > 0 and (part := file.read(min(left, _PART_BYTES))):
            deadline.add(len(part))
            parts.append(part)
            left -= len(part)
    if size > limit or left <= 0:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def open_after_lease(path: str | os.PathLike[str]) -> int:
    """Open as `open_regular`, but wait until another process gives up its lease on the file.

    The system ends the lease after some time. Call this with a deadline.
    """
    try:
        return open_regular(path)
    except BlockingIOError:
        return os.open(path, os.O_RDONLY)


def open_regular_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file as `open(path, "rb")` does. Raises as `open_regular` does."""
    return os.fdopen(open_regular(path), "rb")


def check_mode(mode: int, path: str | os.PathLike[str]) -> None:
    """Check the mode of a file, from `stat`.

    Raises:
        OSError: The mode is not of a regular file. `strerror` names the kind of file.
    """
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise OSError(errno.EINVAL, f"a {name}, not a regular file", os.fspath(path))
