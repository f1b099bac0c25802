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
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)  # the kernel lets go at our end
    deadline = time.monotonic() + _WAIT_S
    while True:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process, not inherited by its workers
        except (BlockingIOError, PermissionError):
            if time.monotonic() > deadline:
                os.close(lock)
                raise ConfigError(f"another process is {doing} in {folder}; end it, or choose another folder") from None
            time.sleep(0.2)
        else:
            return lock
