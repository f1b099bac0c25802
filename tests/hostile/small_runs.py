"""One small corpus and one small run, made once, for the families that train."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from surgrec.runs import RunFiles, read_rows
from tests.support.in_process import train
from tests.support.videos import make_tiny_corpus

STEPS = 2
"""Steps of the run; it has a checkpoint after each."""


@cache
def corpus() -> Path:
    """Return the root of a corpus. Do not change it."""
    return make_tiny_corpus(_folder("corpus"))


@cache
def _run() -> Path:
    run_dir = _folder("run")
    train("jepa", corpus(), run_dir, "--save_every", 1)
    return run_dir


def copy_of_run(folder: Path) -> Path:
    """Return a copy of a finished run in a folder."""
    return Path(shutil.copytree(_run(), folder / "run"))


def rows(run_dir: Path) -> int:
    """Return the number of logged steps."""
    return len(read_rows(RunFiles(run_dir).metrics))


def _folder(name: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"surgrec-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
