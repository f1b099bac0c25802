"""Errors of the local disk that a build writes to."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage import in_the_way

OTHER_WORK = "give --work a folder on another disk"
MOVE_PRIVATE = "move the private folder to another disk and name it with --private"
OTHER_OUT = "choose another --out"


@contextmanager
def writing_to(folder: Path, remedy: str = OTHER_WORK) -> Iterator[None]:
    """Turn errors of the operating system inside the `with` block into one sentence.

    Args:
        folder: The folder that is written.
        remedy: Advice for a full disk, besides freeing space.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder, remedy) from error
        if found := in_the_way(folder, error):
            raise StorageError(f"{found}, or {remedy}") from error
        raise StorageError(
            f"{folder}: {error.strerror}; check the folder, its permissions and its disk"
        ) from error


def disk_full(folder: Path, remedy: str = OTHER_WORK) -> StorageError:
    """Return the error for a full disk."""
    return StorageError(
        f"the disk of {folder} is full; free disk space, or {remedy}, "
        "and run the same command again"
    )
