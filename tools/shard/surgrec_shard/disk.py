"""The local disk of the build, when it does not take what is written."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from surgrec.errors import StorageError

CHOOSE_ANOTHER = "choose another --work or --private"


@contextmanager
def writing_to(folder: Path, way_out: str = CHOOSE_ANOTHER) -> Iterator[None]:
    """Says in a sentence what the operating system reports about a folder that is being written.

    Args:
        folder: The folder.
        way_out: What to do about a full disk, other than to free space.

    Raises:
        StorageError: The disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(folder, way_out) from error
        raise StorageError(
            f"{folder}: {error.strerror}; check the folder, its permissions and its disk"
        ) from error


def disk_full(folder: Path, way_out: str = CHOOSE_ANOTHER) -> StorageError:
    """The error of a full disk."""
    return StorageError(
        f"the disk of {folder} is full; free space there, or {way_out}, and run the same command again"
    )
