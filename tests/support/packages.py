"""Packages that a few slow tests need, beside those of the environment."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.needs import missing


def find_uv() -> str:
    """Return the program uv, which installs packages."""
    uv = shutil.which("uv", path=f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}")
    if uv is None:
        missing("uv is not installed, which installs packages")
    return uv


def install_beside(folder: Path, *packages: str) -> Path:
    """Install packages without their dependencies into a folder, and return it.

    torch and all else are those of this environment. A program gets the folder in PYTHONPATH.

    Args:
        folder: An empty folder.
        packages: Requirements, or `-r` and a file of them.
    """
    uv = find_uv()
    install = [uv, "pip", "install", "-q", "--python", sys.executable, "--no-deps", "--target"]
    done = subprocess.run(
        [*install, str(folder), *packages], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        missing(f"{' '.join(packages)} cannot be installed ({done.stderr.strip()[-300:]})")
    return folder
