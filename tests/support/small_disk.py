"""A real file system of a few kilobytes, to fill up."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import missing


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[], object]]:
    """Mount a small disk at a new folder. Yield a function that enlarges it to 20 MB."""
    folder.mkdir()
    options = f"size={kilobytes}k,mode=755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        missing("mounting a small disk needs root and the right to mount")
    try:
        yield lambda: subprocess.run(["mount", "-o", "remount,size=20m", str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
