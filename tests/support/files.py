"""Files and folders that cannot be used, for any user: root may read what its mode forbids."""

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.needs import missing


def lock_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process list no files of a folder, as if it lacked the permission."""
    scandir = os.scandir

    def refuse(path: Any = ".") -> Iterator[os.DirEntry[Any]]:
        if Path(path) == folder:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


@contextlib.contextmanager
def leased(path: Path) -> Iterator[None]:
    """Hold a lease on a file in another process: whoever opens it waits until it is released."""
    program = """
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
fcntl.fcntl(os.open(sys.argv[1], os.O_RDWR), fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("leased", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            if not holder.stdout.readline():
                missing("this file system has no leases")
            yield
        finally:
            holder.kill()
