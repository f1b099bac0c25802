"""Virtual environments: the packages of the other loaders conflict with each other."""

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from surgrec.errors import SetupError


def python_with(packages: list[str], folder: Path) -> str:
    """Return a Python with this torch, torchvision and torchcodec plus `packages`, made once.

    Without packages, return this Python.
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

        same = [f"{name}=={version(name)}" for name in ("torch", "torchvision", "torchcodec")]
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
            *same,
            *packages,
        ]
        subprocess.run(install, check=True)
        done.touch()
    return str(python)
