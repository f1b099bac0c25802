"""Check a machine of a cluster before it works for a command."""

import os
import socket
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from surgrec import __version__
from surgrec.errors import SetupError
from surgrec.machines._shared_folder import SharedFolder


@dataclass(frozen=True, kw_only=True)
class MachineCheck:
    """The folders, inputs and versions of the machine of a command. Picklable."""

    folders: tuple[SharedFolder, ...]
    """Folders that all machines write to."""
    inputs: tuple[str, ...]
    """Absolute paths that all machines read."""
    versions: str
    """From `result_versions` on the machine of the command."""

    def require(self) -> None:
        """Check this machine.

        Raises:
            SetupError: It lacks a folder, an input or a version.
        """
        machine = f"the machine {socket.gethostname()} of the Ray cluster"
        for folder in self.folders:
            folder.require()
        for path in self.inputs:
            if not os.path.lexists(path):
                raise SetupError(
                    f"{machine} does not see {path}, which the machine of this command sees; mount "
                    "its disk there under the same path, and run the same command again"
                )

        if self.versions != result_versions():
            raise SetupError(
                f"{machine} has {result_versions()}, and the machine of this command has "
                f"{self.versions}; install the same versions on all machines: they may change the "
                "results"
            )


def result_versions() -> str:
    """Return the versions on this machine that may change features and scores."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        return f"SurgRec {__version__} without torch"
    return f"SurgRec {__version__} with torch {torch}"
