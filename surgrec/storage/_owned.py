"""Folders and files that only their owner can open: modes 0700 and 0600, links not followed.

Other users of a machine must not read their content, and must not have written it.
"""

import errno
import os
import pwd
import stat
from pathlib import Path
from typing import IO, Literal

from surgrec.errors import StorageError
from surgrec.storage._blocked import in_the_way
from surgrec.storage._owner_file import check_owned

_FLAGS = {
    "r": os.O_RDONLY,
    "w": os.O_WRONLY | os.O_CREAT,
    "a": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
}
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_owned_folder(path: Path) -> None:
    """Create a folder that only this user can open, or check that an existing one is such a folder.

    An existing empty folder of this user is closed to others.

    Raises:
        StorageError: The folder belongs to another user, is open to others, is reached by a link of
            another user, or cannot be created.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
        _check_owner(path, path.lstat())  # a link of another user could lead anywhere
        status = path.stat()
        _check_owner(path, status)

        if status.st_mode & _OTHERS and not any(path.iterdir()):
            path.chmod(0o700)
            status = path.stat()
            if status.st_mode & _OTHERS:
                raise StorageError(
                    f"{path} is on a file system that cannot close a folder to other users; choose "
                    "a folder on another file system"
                )
        _check_mode(path, status)
    except OSError as error:
        if found := in_the_way(path, error):
            raise StorageError(f"{found}, or choose another folder") from error
        raise StorageError(
            f"{path} cannot be used ({error.strerror}); choose a folder that you can write"
        ) from error


def open_owned(path: Path, mode: Literal["r", "w", "a"], *, newline: str | None = None) -> IO[str]:
    """Open a text file that only this user can open; a new one gets the mode 0600.

    The text is UTF-8. Bytes that are not, such as those of file names, are kept (surrogateescape).

    Args:
        path: The file; a link is refused.
        mode: Read, write anew, or append.
        newline: As in `open`.

    Raises:
        StorageError: The file belongs to another user, is open to others, or is not a regular file.
        OSError: The file cannot be opened.
    """
    if mode != "r":
        check_owned()
    flags = _FLAGS[mode] | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _not_regular(path) from error
        raise

    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(path)
        _check_owner(path, status)
        _check_mode(path, status)
        if mode == "w":
            os.ftruncate(descriptor, 0)
    except BaseException:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, mode, encoding="utf-8", errors="surrogateescape", newline=newline)


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        raise StorageError(
            f"{path} belongs to {_user(status.st_uid)}, but this process runs as "
            f"{_user(os.geteuid())}; choose another folder, or change its owner if you trust what "
            "it contains"
        )


def _check_mode(path: Path, status: os.stat_result) -> None:
    if status.st_mode & _OTHERS:
        raise StorageError(
            f"{path} is open to other users (mode {stat.S_IMODE(status.st_mode):04o}); if you "
            f"trust what it contains, run: chmod -R go= {path}"
        )


def _not_regular(path: Path) -> StorageError:
    return StorageError(f"{path} is a link or not a regular file; remove it")


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"
