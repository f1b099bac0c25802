"""A folder that all machines of a cluster share under the same path."""

import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from surgrec.errors import SetupError, StorageError
from surgrec.storage import TEMPORARY, open_owned

_MARKER = f"{TEMPORARY}seen-by-all-"


@dataclass(frozen=True, kw_only=True)
class SharedFolder:
    """A folder with a marker, which each machine looks for. Picklable."""

    marker: Path
    """File in the folder."""
    token: str
    """Its content."""
    kind: str
    """What the folder is, for messages, such as `work folder`."""
    option: str
    """Option of the command that names it, such as `--work`."""

    def require(self) -> None:
        """Check that this machine sees the folder.

        Raises:
            SetupError: It does not, or it has another folder of the same name.
            StorageError: The marker belongs to another user.
        """
        try:
            with open_owned(self.marker, "r") as file:
                is_shared = file.read() == self.token
        except OSError:
            is_shared = False
        if not is_shared:
            raise SetupError(
                f"the machine {socket.gethostname()} of the cluster does not see the {self.kind} "
                f"{self.marker.parent} (user {os.getuid()}); give {self.option} a folder that all "
                "machines share under the same path, and run the same user on all of them"
            )


@contextmanager
def shared_folder(folder: Path, *, kind: str, option: str) -> Iterator[SharedFolder]:
    """Yield the check of a folder, whose marker exists until the end of the `with` block.

    Args:
        folder: The folder.
        kind: See `SharedFolder`.
        option: See `SharedFolder`.

    Raises:
        StorageError: The folder cannot be written.
    """
    token = secrets.token_hex(16)
    marker = folder.absolute() / f"{_MARKER}{token[:8]}"
    try:
        try:
            with open_owned(marker, "w") as file:
                file.write(token)
        except OSError as error:
            raise StorageError(
                f"{folder} cannot be written ({error.strerror}); check the folder, its permissions "
                f"and its disk, or give {option} another folder"
            ) from error
        yield SharedFolder(marker=marker, token=token, kind=kind, option=option)
    finally:
        marker.unlink(missing_ok=True)
