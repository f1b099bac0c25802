"""Checks of the machine's limits: processor cores, memory, open files, shared memory."""

import os
import resource
import shutil
import tempfile
from pathlib import Path

from surgrec.doctor._control_groups import cpu_quota, memory_limit
from surgrec.doctor._finding import Finding

_LEAST_MEMORY = 8 << 30
_LEAST_FILES = 4096
"""Open files that a loader with eight workers on an object store stays below."""
_LEAST_SHARED = 1 << 30
"""Shared memory below which NCCL between the GPUs of a container may fail."""
_SHARED_MEMORY = Path("/dev/shm")


def examine_machine(shared_memory: Path = _SHARED_MEMORY) -> list[Finding]:
    """Check the cores, memory and files that this process may use, as its job allows them.

    Args:
        shared_memory: Folder of the shared memory, in which a file is written.
    """
    return [_cores(), _memory(), _open_files(), _shared_memory(shared_memory)]


def _cores() -> Finding:
    allowed, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    found = f"{allowed} of {present}" if allowed < present else f"{allowed}"
    quota = cpu_quota()
    if quota is not None and quota < allowed:
        remedy = "give the container or the job as many cores, or set --loader.num_workers"
        found = f"{found}, but time for {quota:g} only"
        return Finding(what="cores", state="note", found=found, remedy=remedy)
    return Finding(what="cores", state="good", found=found)


def _memory() -> Finding:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = memory_limit()
    found = f"{_gib(total)} GiB"
    if limit is not None and limit < total:
        found = f"{_gib(limit)} GiB of the {found} of the machine"
    if min(total, limit or total) < _LEAST_MEMORY:
        remedy = "`surgrec plan` tells what a training needs"
        return Finding(what="memory", state="note", found=found, remedy=remedy)
    return Finding(what="memory", state="good", found=found)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _LEAST_FILES:
        return Finding(what="open files", state="good", found=f"{soft} at most")
    remedy = f"ulimit -n {_LEAST_FILES}"
    if hard != resource.RLIM_INFINITY and hard < _LEAST_FILES:
        remedy = f"ask for a limit of {_LEAST_FILES} open files; yours may be raised to {hard} only"
    return Finding(what="open files", state="note", found=f"{soft} at most", remedy=remedy)


def _shared_memory(folder: Path) -> Finding:
    """Check that loader workers can have locks there, and GPUs can exchange data."""
    what = "shared memory"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 20))
            file.flush()
    except OSError as error:
        found = f"{folder} cannot be written ({error.strerror}): loader workers do not start"
        remedy = f"mount a tmpfs at {folder} with mode 1777 and free space"
        return Finding(what=what, state="fault", found=found, remedy=remedy)

    total = shutil.disk_usage(folder).total
    found = f"{folder} has {_gib(total)} GiB, can be written"
    if total < _LEAST_SHARED:
        remedy = "with several GPUs, start the container with --ipc=host or --shm-size=1g"
        return Finding(what=what, state="note", found=found, remedy=remedy)
    return Finding(what=what, state="good", found=found)


def _gib(size: int) -> str:
    return f"{size / 2**30:.3g}"
