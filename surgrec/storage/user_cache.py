"""Folders of files that a user's processes can make again, on the local disk."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage._owned import make_owned_folder


def user_cache_folder(content: str) -> Path:
    """Return this user's folder for some cached content, which only this user can open.

    It is in SURGREC_CACHE, or else in the user's cache folder, or else, if there is none, among the
    temporary files.

    Args:
        content: The kind of files in the folder, such as `indexes`.

    Raises:
        StorageError: It cannot be made, or belongs to another user.
    """
    own = f"{content}-of-user-{os.geteuid()}"
    chosen = os.environ.get("SURGREC_CACHE")
    if chosen:
        make_owned_folder(Path(chosen) / own)
        return Path(chosen) / own

    # Containers run users without a home, or with one that they cannot write.
    with suppress(RuntimeError, StorageError):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        make_owned_folder(home / "surgrec" / own)
        return home / "surgrec" / own
    folder = Path(tempfile.gettempdir()) / f"surgrec-{own}"
    make_owned_folder(folder)
    return folder
