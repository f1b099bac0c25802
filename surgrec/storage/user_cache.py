"""Folders of files that a user's processes can make again, on the local disk."""

import logging
import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage._owned import make_owned_folder
from surgrec.storage.file_system import file_system, is_network

_log = logging.getLogger(__name__)


def user_cache_folder(content: str, *, is_mapped: bool = False) -> Path:
    """Return this user's folder for some cached content, which only this user can open.

    It is in SURGREC_CACHE, or else in the user's cache folder, or else, if there is none, among the
    temporary files. Mapped files are not for the network: they are among the temporary files if
    the user's cache folder is on it, and a warning says so if SURGREC_CACHE is.

    Args:
        content: The kind of files in the folder, such as `indexes`.
        is_mapped: The files are mapped into memory, and are large.

    Raises:
        StorageError: It cannot be made, or belongs to another user.
    """
    own = f"{content}-of-user-{os.geteuid()}"
    chosen = os.environ.get("SURGREC_CACHE")
    if chosen:
        make_owned_folder(Path(chosen) / own)
        if is_mapped:
            _warn_of_network(Path(chosen) / own)
        return Path(chosen) / own

    # Containers run users without a home, or with one that they cannot write.
    with suppress(RuntimeError, StorageError):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        if not (is_mapped and is_network(file_system(home))):
            make_owned_folder(home / "surgrec" / own)
            return home / "surgrec" / own
    folder = Path(tempfile.gettempdir()) / f"surgrec-{own}"
    make_owned_folder(folder)
    if is_mapped:
        _warn_of_network(folder)
    return folder


@cache
def _warn_of_network(folder: Path) -> None:
    """Warn once of a folder for mapped files that is on the network."""
    kind = file_system(folder)
    if is_network(kind):
        _log.warning(
            "%s is on the network (%s), so that indexes are slow to open and each machine reads "
            "them again; set SURGREC_CACHE to a folder on a local disk",
            folder,
            kind,
        )
