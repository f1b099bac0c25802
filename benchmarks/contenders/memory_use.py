"""Memory and processor time of this process and its descendants, from /proc."""

import os
from contextlib import suppress
from pathlib import Path


def tree_pss_mb() -> float:
    """Return the proportional set size: shared pages count once."""
    return _tree_mb("Pss:")


def tree_anonymous_mb() -> float:
    """Return the anonymous part: memory that cannot be dropped and read again."""
    return _tree_mb("Pss_Anon:")


def peak_bytes() -> int:
    """Return the most bytes of memory that this process alone had.

    `ru_maxrss` would begin with the peak of the process that started this one.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def tree_cpu_s() -> float:
    """Return the processor time so far, seconds, of living processes."""
    ticks = 0
    for process in {os.getpid(), *descendants()}:
        with suppress(OSError):
            ticks += sum(
                map(
                    int, Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11:13]
                )
            )
    return ticks / os.sysconf("SC_CLK_TCK")


def descendants() -> set[int]:
    """Return all descendants of this process."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # the process has just ended
            continue

    below: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {child for child, parent in parents.items() if parent in level} - below
        below |= level
    return below


def _tree_mb(figure: str) -> float:
    return sum(_kb(process, figure) for process in {os.getpid(), *descendants()}) / 1024


def _kb(process: int, figure: str) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(figure)), 0)
