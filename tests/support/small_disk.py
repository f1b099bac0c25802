"""A real file system of a few kilobytes, to fill up."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.needs import missing


@contextmanager
def small_disk(
    folder: Path, kilobytes: int, *, larger_megabytes: int = 20
) -> Iterator[Callable[[], object]]:
    """Mount a small disk at a new folder. Yield a function that enlarges it."""
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
        larger = f"remount,size={larger_megabytes}m"
        yield lambda: subprocess.run(["mount", "-o", larger, str(folder)], check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
