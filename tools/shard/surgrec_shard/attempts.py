"""Attempts: folders that are filled, and of which the first complete one may get a final name.

Several processes, on several machines, may try the same work at once.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.storage.lock import try_hold
from surgrec_shard.disk import writing_to

_LOCK = ".lock-"
_OWNER = ".owner"


@contextmanager
def attempt(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside another one. At the end it is removed, unless it was renamed.

    A name is never used twice: ffmpeg may outlive a killed build and still write into its folder.
    Folders of attempts that have ended are removed. A running one holds a lock, so it stays.

    Args:
        folder: The folder that the attempt is for.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    parent = folder.parent
    with writing_to(parent):
        for each in (parent.parent, parent):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_ended_attempts(folder)

    # The lock comes first: without one, the folder would look like that of an ended attempt.
    mine = parent / f"{folder.name}.partial-{uuid.uuid4().hex[:12]}"
    lock = try_hold(parent, name=f"{_LOCK}{mine.name}")
    try:
        with writing_to(parent):
            mine.mkdir(mode=0o700)
        yield mine
    finally:
        shutil.rmtree(mine, ignore_errors=True)
        _lock_of(mine).unlink(missing_ok=True)
        if lock is not None:
            lock.release()


def remove_ended_attempts(folder: Path) -> None:
    """Remove the folders of earlier attempts at a folder, unless their processes still run."""
    parent, pattern = folder.parent, f"{folder.name}.partial-*"
    names = {path.name for path in parent.glob(pattern)}
    names |= {path.name.removeprefix(_LOCK) for path in parent.glob(f"{_LOCK}{pattern}")}
    for name in sorted(name for name in names if _OWNER not in name):
        lock = try_hold(parent, name=f"{_LOCK}{name}")
        if lock is not None:
            shutil.rmtree(parent / name, ignore_errors=True)
            _lock_of(parent / name).unlink(missing_ok=True)
            lock.release()


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{_LOCK}{folder.name}")
