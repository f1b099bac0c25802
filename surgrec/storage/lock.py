"""A folder that one process at a time works in."""

import fcntl
import os
import time
from pathlib import Path

from surgrec.errors import ConfigError

LOCK_FILE = "lock"
_WAIT_S = 10.0  # a job that was just killed may take a moment to end


def hold(folder: Path, *, doing: str) -> int:
    """Keeps a folder for this process until it ends, however it ends, or closes the descriptor that it gets.

    Args:
        folder: Receives a file `lock`, which stays.
        doing: What processes do there, such as `training`, for the message.

    Raises:
        ConfigError: Another process holds it, such as a worker that outlived its killed launcher.
    """
    deadline = time.monotonic() + _WAIT_S
    while (lock := try_acquire(folder)) is None:
        if time.monotonic() > deadline:
            raise ConfigError(
                f"another process is {doing} in {folder}; end it, or choose another folder"
            )
        time.sleep(0.2)
    return lock


def try_acquire(folder: Path) -> int | None:
    """As `hold`, without waiting: None where another process holds it."""
    lock = os.open(
        folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644
    )  # the kernel lets go at our end
    try:
        fcntl.lockf(
            lock, fcntl.LOCK_EX | fcntl.LOCK_NB
        )  # of the process, not inherited by its workers
    except (BlockingIOError, PermissionError):
        os.close(lock)
        return None
    return lock
