"""The limits of this process's control groups, as a container or a Slurm job sets them.

A limit holds for all groups below it, so the least one up the tree counts. Both versions of control
groups are read, also side by side.

Source: the Linux kernel's documentation of cgroups, versions 1 and 2; proc(5).
"""

from collections.abc import Iterator
from pathlib import Path

_TREE = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def memory_limit(tree: Path = _TREE, membership: Path = _MEMBERSHIP) -> int | None:
    """Return the bytes that the control groups allow; None: no limit.

    Args:
        tree: Folder of the control groups.
        membership: File that names the groups of this process.
    """
    limits = [
        int(text)
        for group in _groups("memory", tree, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _value(group / name)).isdigit()
    ]
    return min(limits, default=None)


def cpu_quota(tree: Path = _TREE, membership: Path = _MEMBERSHIP) -> float | None:
    """Return how many cores' time the control groups allow; None: no limit.

    Args:
        tree: Folder of the control groups.
        membership: File that names the groups of this process.
    """
    quotas = []
    for group in _groups("cpu", tree, membership):
        both = _value(group / "cpu.max").split()
        both = both or [_value(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        # No limit is the word `max` or the number -1.
        if all(text.isdigit() for text in both):
            quotas.append(int(both[0]) / int(both[1]))
    return min(quotas, default=None)


def _groups(controller: str, tree: Path, membership: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups with a controller, and of those above them.

    A container may see its own group as the top of the tree while the name is that of the host, so
    folders need not exist.
    """
    for line in _value(membership).splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue

        # Version 2 has one tree, version 1 one per set of controllers.
        top = tree / controllers
        if not top.is_dir():
            top = tree / controller
        parts = Path(name).parts[1:]
        if ".." in parts:  # the group is outside of what this process may see
            parts = ()
        yield from (top.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _value(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""
