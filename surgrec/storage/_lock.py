"""A lock on a folder, held by one process at a time."""

import fcntl
import os
import time
from pathlib import Path

from surgrec.errors import ConfigError

LOCK_FILE = "lock"

_WAIT_S = 10.0  # a job that was just killed needs a moment to end
_POLL_S = 0.2


def acquire(folder: Path, *, doing: str) -> int:
    """Lock a folder for this process, waiting up to 10 s for another process to end.

    The kernel releases the lock when the process ends, however it ends, or when the returned
    descriptor is closed.

    Args:
        folder: Folder to lock. It receives a file `lock`, which stays.
        doing: Activity that the lock protects, such as `training`; it appears in the error message.

    Returns:
        The descriptor of the lock file.

    Raises:
        ConfigError: Another process holds the lock, such as a worker that outlived its killed
            launcher.
    """
    deadline = time.monotonic() + _WAIT_S
    while (lock := try_acquire(folder)) is None:
        if time.monotonic() > deadline:
            raise ConfigError(
                f"another process is {doing} in {folder}; end it, or choose another folder"
            )
        time.sleep(_POLL_S)

    return lock


def try_acquire(folder: Path) -> int | None:
    """Lock a folder without waiting. Return None if another process holds the lock."""
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # A lock of lockf belongs to this process alone: forked workers do not inherit it.
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(lock)
        return None
    return lock
