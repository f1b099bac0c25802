"""Checks of a folder or a store for runs, corpora or caches: free space, rights, locks."""

import errno
import os
import shutil
import tempfile
import time
import uuid
from pathlib import Path

from surgrec.doctor._finding import Finding, fault_of
from surgrec.errors import StorageError
from surgrec.storage import TEMPORARY, RetryPolicy, Store, open_store
from surgrec.storage.file_system import file_system, is_network
from surgrec.storage.lock import try_hold

_LEAST_FREE = 20 << 30
"""Free space of a small corpus or a run with checkpoints, bytes."""
_POLICY = RetryPolicy(deadline_s=20.0)
"""Shorter than the default: a person waits for the answer."""
_TRIAL = b"written by surgrec doctor"


def examine_folder(address: str | Path) -> list[Finding]:
    """Check that a folder can be written and locked, and its free space.

    A folder that does not exist is checked at its nearest parent. In an object store, an object is
    written, read and deleted. Nothing stays behind, if it can be deleted.

    Args:
        address: Folder or `s3://bucket/prefix`.
    """
    what = f"folder {address}"
    try:
        store = open_store(address, policy=_POLICY)
    except StorageError as error:
        return [fault_of(what, error)]
    if store.is_local:
        return _examine_folder(what, Path(store.address))
    return _examine_store(what, store)


def _examine_folder(what: str, there: Path) -> list[Finding]:
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


def _examine_store(what: str, store: Store) -> list[Finding]:
    """Write, read and delete a small object, for each of which a store may lack the right."""
    name, began = f"{TEMPORARY}doctor-{uuid.uuid4().hex}", time.monotonic()
    try:
        store.write(name, _TRIAL)
    except StorageError as error:
        return [fault_of(f"{what}: write", error)]

    faults = []
    try:
        if store.read(name) != _TRIAL:
            raise StorageError(
                f"{store.locate(name)} has other bytes than were written; check AWS_ENDPOINT_URL, "
                "and the proxy before the store"
            )
    except StorageError as error:
        faults.append(fault_of(f"{what}: read", error))
    try:
        store.delete(name)
    except StorageError as error:
        faults.append(fault_of(f"{what}: delete", error))

    found = f"an object was written, read and deleted in {time.monotonic() - began:.2f} s"
    return faults or [Finding(what=what, state="good", found=found)]


def _write_fault(folder: Path) -> str | None:
    """Return why a file cannot be written, renamed or locked in a folder; None: it can."""
    try:
        # Do what a build does: write, rename, lock.
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
