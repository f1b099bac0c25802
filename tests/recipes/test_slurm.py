"""The job script for Slurm: it queues a stopped run again only if its start got anywhere."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ROOT

SCONTROL = """#!/bin/bash
[ "$1" = requeue ] && echo "$2" >> "$CALLS"
[ "$1" = show ] && echo node1
exit 0
"""
SRUN = """#!/bin/bash
[ -z "$STEP" ] || mkdir -p "$RUN/checkpoints/step-$STEP" "$RUN/checkpoints/.step-99999999.part"
exit "$STATUS"
"""
"""A start that writes a checkpoint and ends with a status."""


def submit(
    folder: Path, *, before: str | None, after: str | None, status: int
) -> tuple[int, str, list[str]]:
    """Run the script as a job; return its status, its errors and the jobs that it queues again."""
    for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    if before is not None:
        (folder / f"run/checkpoints/step-{before}").mkdir(parents=True)
    environment = os.environ | {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "CALLS": str(folder / "calls"),
        "RUN": str(folder / "run"),
        "STEP": after or "",
        "STATUS": str(status),
        **{"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_NNODES": "1"},
    }
    script = ROOT / "recipes/slurm/train.sbatch"
    done = subprocess.run(
        ["bash", script, folder / "run", "recipes/jepa.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    calls = folder / "calls"
    queued = calls.read_text(encoding="utf-8").split() if calls.exists() else []
    return done.returncode, done.stderr, queued


@pytest.mark.parametrize(
    ("before", "after"), [(None, "00000002"), ("00000008", "00000010"), ("00000099", "00001000")]
)
def test_a_stopped_run_that_did_some_steps_is_queued_again(
    tmp_path: Path, before: str | None, after: str
) -> None:
    status, errors, queued = submit(tmp_path, before=before, after=after, status=143)
    assert (status, queued) == (143, ["7"])
    assert "stopped before the last step; the job is queued again" in errors


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, None, "of step 0, and began at step 0"),
        (None, "00000001", "of step 1, and began at step 0"),
        ("00000009", "00000010", "of step 10, and began at step 9"),
        ("00000009", None, "of step 9, and began at step 9"),
    ],
)
def test_a_start_of_one_step_fails_and_asks_for_more_time(
    tmp_path: Path, before: str | None, after: str | None, told: str
) -> None:
    status, errors, queued = submit(tmp_path, before=before, after=after, status=143)
    assert (status, queued) == (1, [])
    (line,) = errors.splitlines()
    assert told in line
    assert line.endswith("its time went into the load; give it a longer --time")


@pytest.mark.parametrize("ended", [0, 1])
def test_a_run_that_ended_by_itself_is_not_queued_again(tmp_path: Path, ended: int) -> None:
    assert submit(tmp_path, before=None, after="00000400", status=ended) == (ended, "", [])
