"""This process and all below it, from /proc: who they are, their memory and their time."""

import os
from contextlib import suppress
from pathlib import Path


def tree_pss_mb() -> float:
    """Proportional set size: pages that processes share count once."""
    return _tree_mb("Pss:")


def tree_anonymous_mb() -> float:
    """The part of it that is no file's: what cannot be dropped and read again."""
    return _tree_mb("Pss_Anon:")


def tree_cpu_s() -> float:
    """Seconds of processor time so far, of those that live."""
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
    """Every process below this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {child for child, parent in parents.items() if parent in level} - found
        found |= level
    return found


def _tree_mb(figure: str) -> float:
    return sum(_kb(process, figure) for process in {os.getpid(), *descendants()}) / 1024


def _kb(process: int, figure: str) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(figure)), 0)
