"""Links and files in the way of a folder that cannot be created."""

import errno
import os
from pathlib import Path

_TAKEN = (errno.EEXIST, errno.ENOTDIR, errno.ELOOP)


def in_the_way(folder: Path, error: OSError | None = None) -> str | None:
    """Return a sentence about a link to nowhere, or another file, at the place of a folder.

    Args:
        folder: The folder; the folders above it are looked at, too.
        error: The error of the creation, if it was tried; another kind has another cause.

    Returns:
        The finding and the remedy; None if nothing is in the way.
    """
    if error is not None and error.errno not in _TAKEN:
        return None

    for place in (*reversed(folder.parents), folder):
        if os.path.isdir(place):
            continue
        if os.path.islink(place):
            return (
                f"{place} is a link to {os.readlink(place)}, where no folder is; mount or create "
                "that folder, or remove the link"
            )
        return f"{place} is not a folder; move it away" if os.path.lexists(place) else None

    return None
