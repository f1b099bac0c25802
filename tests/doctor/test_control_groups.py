"""The least limit of a control group and of all above it counts, in both versions."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from surgrec.doctor._control_groups import cpu_quota, memory_limit

UNLIMITED_V1 = "9223372036854771712"
JOB = "system.slice/slurmstepd.scope/job_7"


def write_tree(folder: Path, files: Mapping[str, str], *membership: str) -> tuple[Path, Path]:
    """Write values of control groups, and the lines that name those of the process."""
    for name, value in files.items():
        path = folder / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    members = folder / "membership"
    members.write_text("".join(f"{line}\n" for line in membership))
    return folder / "tree", members


def test_the_limits_of_a_slurm_job_lie_above_its_step(tmp_path: Path) -> None:
    files = {
        f"{JOB}/memory.max": f"{8 << 30}",
        f"{JOB}/cpu.max": "max 100000",
        f"{JOB}/step_0/memory.max": "max",
        f"{JOB}/step_0/cpu.max": "150000 100000",
        "system.slice/memory.max": f"{32 << 30}",
        "system.slice/cpu.max": "400000 100000",
        f"{JOB}/step_1/memory.max": "1",
    }
    tree = write_tree(tmp_path, files, f"0::/{JOB}/step_0")
    assert (memory_limit(*tree), cpu_quota(*tree)) == (8 << 30, 1.5)


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_has_a_tree_for_each_controller(folder: str, tmp_path: Path) -> None:
    files = {
        "memory/memory.limit_in_bytes": UNLIMITED_V1,
        "memory/slurm/job_7/memory.limit_in_bytes": f"{4 << 30}",
        f"{folder}/cpu.cfs_quota_us": "-1",
        f"{folder}/cpu.cfs_period_us": "100000",
        f"{folder}/slurm/cpu.cfs_quota_us": "300000",
        f"{folder}/slurm/cpu.cfs_period_us": "100000",
        "unified/cgroup.procs": "1",
    }
    lines = ("9:memory:/slurm/job_7", "3:cpu,cpuacct:/slurm", "1:name=systemd:/", "0::/slurm")
    tree = write_tree(tmp_path, files, *lines)
    assert (memory_limit(*tree), cpu_quota(*tree)) == (4 << 30, 3.0)


@pytest.mark.parametrize("line", ["0::/", "0::/docker/of/the/host", "0::/../../elsewhere"])
def test_a_container_sees_its_own_limits_at_the_top(line: str, tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"memory.max": "1000", "cpu.max": "50000 100000"}, line)
    assert (memory_limit(*tree), cpu_quota(*tree)) == (1000, 0.5)


@pytest.mark.parametrize("lines", [[], ["0::/"], ["4:cpuset:/"]])
def test_without_limits_there_is_none(lines: list[str], tmp_path: Path) -> None:
    tree = write_tree(tmp_path, {"cpu.max": "max 100000", "memory.max": "max"}, *lines)
    assert (memory_limit(*tree), cpu_quota(*tree)) == (None, None)
