"""Checks of a folder for runs, corpora or caches: free space, rights, locks."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from surgrec.doctor._finding import Finding
from surgrec.errors import StorageError
from surgrec.storage.file_system import file_system, is_network
from surgrec.storage.lock import try_hold

_LEAST_FREE = 20 << 30
"""Free space of a small corpus or a run with checkpoints, bytes."""


def examine_folder(folder: Path) -> list[Finding]:
    """Check that a folder can be written and locked, and its free space.

    A folder that does not exist is checked at its nearest parent. Nothing stays behind.
    """
    what = f"folder {folder}"
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        remedy = "name a folder"
        return [Finding(what=what, state="fault", found=f"{there} is a file", remedy=remedy)]

    usage = shutil.disk_usage(there)
    kind = file_system(there)
    found = f"{usage.free / 2**30:,.0f} of {usage.total / 2**30:,.0f} GiB free, {kind}"
    fault = _write_fault(there)
    if fault is not None:
        return [Finding(what=what, state="fault", found=found, remedy=fault)]
    if usage.free < _LEAST_FREE:
        remedy = "free space, or use another disk; `surgrec-shard plan` tells what a build needs"
        return [Finding(what=what, state="note", found=found, remedy=remedy)]
    if is_network(kind):
        found = f"{found}: good for corpora and runs"
        remedy = "keep --loader.cache_dir and SURGREC_CACHE on a local disk"
        return [Finding(what=what, state="note", found=found, remedy=remedy)]
    return [Finding(what=what, state="good", found=f"{found}, can be written")]


def _write_fault(folder: Path) -> str | None:
    """Return why a file cannot be written, renamed or locked in a folder; None: it can."""
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=folder) as name:
            trial = Path(name) / "trial"
            with trial.open("wb") as file:
                file.write(bytes(1 << 20))
                os.fsync(file.fileno())
            trial.replace(Path(name) / "renamed")
            lock = try_hold(Path(name))
            if lock is not None:
                lock.release()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"you may not write here ({error.strerror}); change its rights, or use another"
        return f"writing fails ({error.strerror}); free space, or use another folder"
    except StorageError as error:
        return str(error)
    return None
