"""Links that lead out of the named folders are refused, so that pages show nothing else."""

import os
from collections.abc import Iterable
from pathlib import Path

from surgrec.errors import ConfigError


def check_inside(folder: Path, paths: Iterable[Path]) -> None:
    """Refuse files that a link puts outside a folder; the folder itself may be a link.

    Args:
        folder: What the command line names.
        paths: Files in it, which need not exist.

    Raises:
        ConfigError: A file, or a folder on its way, is a link that leads out.
    """
    real = Path(os.path.realpath(folder))
    for path in paths:
        if not Path(os.path.realpath(path)).is_relative_to(real):
            raise ConfigError(
                f"{path} is a link, or lies behind one, that leads out of {folder}, which alone "
                "was named; put a copy in the place of the link"
            )


def check_all_inside(folder: Path) -> None:
    """Refuse a folder with a link that leads out of it, at any depth.

    Raises:
        ConfigError: There is such a link.
    """
    check_inside(folder, folder.rglob("*"))
