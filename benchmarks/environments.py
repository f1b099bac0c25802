"""Virtual environments: the packages of the other loaders conflict with each other."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from surgrec.errors import SetupError


def python_with(
    packages: list[str],
    folder: Path,
    *,
    same: Sequence[str] = ("torch", "torchvision", "torchcodec"),
) -> str:
    """Return a Python with `packages`, made once. Without packages, return this Python.

    Args:
        packages: Requirements.
        folder: Folder of the environment.
        same: Packages that it has in the same version as this Python.
    """
    if not packages:
        return sys.executable
    python = folder / "bin" / "python"
    done = folder / "complete"

    if not done.exists():
        uv = shutil.which("uv")
        if uv is None:
            raise SetupError(
                "uv is not on the PATH, and it makes the environments of the other loaders: "
                "install it with `pip install uv`"
            )

        subprocess.run(
            [uv, "venv", "-q", "--allow-existing", "--python", sys.executable, str(folder)],
            check=True,
        )

        install = [
            uv,
            "pip",
            "install",
            "-q",
            "--compile-bytecode",
            "--python",
            str(python),
            *(f"{name}=={version(name)}" for name in same),
            *packages,
        ]
        subprocess.run(install, check=True)
        done.touch()
    return str(python)
