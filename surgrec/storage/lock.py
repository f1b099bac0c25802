"""A lock on a folder, held by one process at a time.

The kernel locks a file. Some file systems have no locks (Lustre without `flock`, NFS without its
lock service, FUSE). There, a process holds the lock by an owner file.
"""

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from surgrec.errors import ConfigError, StorageError
from surgrec.storage._owner_file import HEARTBEAT_S, own, read_owner

LOCK_FILE = "lock"

_WAIT_S = 10.0  # a job that was just killed needs a moment to end
_POLL_S = 0.2
_NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL))

_log = logging.getLogger(__name__)


class FolderLock:
    """A held lock. It ends with `release`, or when the process ends, however it ends.

    Args:
        release: Gives the lock up.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def release(self) -> None:
        """Give the lock up."""
        self._release()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def hold(
    folder: Path,
    *,
    doing: str,
    name: str = LOCK_FILE,
    remedy: str = "end it, or choose another folder",
) -> FolderLock:
    """Lock a folder for this process, waiting up to 10 s for another process to end.

    On a file system without locks, it waits up to a minute for a silent owner.

    Args:
        folder: Folder to lock. It receives a file `name`, which may stay.
        doing: Activity that the lock protects, such as `training`; it appears in the error message.
        name: Name of the lock file.
        remedy: Advice in the error message.

    Raises:
        ConfigError: Another process holds the lock, such as a worker that outlived its killed
            launcher.
        StorageError: The lock file cannot be written.
    """
    deadline = time.monotonic() + _WAIT_S
    while (lock := try_hold(folder, name=name)) is None:
        owner = read_owner(_owner_path(folder, name))
        is_silent = owner is not None and owner.silent_s > 2 * HEARTBEAT_S
        if time.monotonic() > deadline and not is_silent:
            raise ConfigError(
                f"another process is {doing} in {folder}{owner.words() if owner else ''}; {remedy}"
            )
        time.sleep(_POLL_S)
    return lock


def try_hold(folder: Path, *, name: str = LOCK_FILE) -> FolderLock | None:
    """Lock a folder without waiting. Return None if another process holds the lock.

    Raises:
        StorageError: The lock file cannot be written.
    """
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error

    try:
        # A lock of lockf belongs to this process alone: forked workers do not inherit it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NO_LOCKS:
            return _own(folder, name)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise _unwritable(path, error) from error
    if not _is_at(descriptor, path):  # its last owner has removed it meanwhile
        os.close(descriptor)
        return None
    return FolderLock(lambda: os.close(descriptor))


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file still has its path."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    return False


def _own(folder: Path, name: str) -> FolderLock | None:
    """Lock a folder by an owner file. Return None if another process owns the folder."""
    path = _owner_path(folder, name)
    try:
        owned = own(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    if owned is None:
        return None
    _log.warning("%s: the file system has no file locks; %s replaces them", folder, path.name)
    return FolderLock(owned.release)


def _owner_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.owner"


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: the lock file cannot be written ({error.strerror}); check the folder, its "
        "permissions and its disk"
    )
