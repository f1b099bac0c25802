"""Files and folders that cannot be used, for any user: root may read what its mode forbids."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def lock_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process list no files of a folder, as if it lacked the permission."""
    scandir = os.scandir

    def refuse(path: Any = ".") -> Iterator[os.DirEntry[Any]]:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
