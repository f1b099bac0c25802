"""Open files for reading without waiting: a pipe, a socket or a link loop is an OSError."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISFIFO, "named pipe"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
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
        OSError: As `open_regular`, or the file is larger than the limit.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:
        raise OSError(errno.EFBIG, f"larger than {limit:,} bytes", str(path))
    return data


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
