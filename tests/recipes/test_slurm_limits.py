"""The job script under a real Slurm: a run goes on over time limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from surgrec.runs import RunFiles, read_rows
from tests.support.processes import ROOT
from tests.support.slurm import Slurm, run_slurm


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slurm]:
    """A Slurm whose jobs use CPUs, two processes per node, as docs/slurm.md says."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("PROCESSES_PER_NODE", "2")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with run_slurm() as slurm:
        yield slurm


@pytest.mark.slow
def test_a_run_saves_before_its_time_limit_and_goes_on(
    slurm: Slurm, tiny_corpus: Path, tmp_path: Path
) -> None:
    files, log = RunFiles(tmp_path / "run"), tmp_path / "job.log"
    job = slurm.run(
        *("sbatch", "--parsable", "--nodes", 1, "--cpus-per-task", 2, "--time", 60),
        *("--signal", "TERM@120", "--output", log),
        *("recipes/slurm/train.sbatch", files.run_dir, "recipes/jepa.py"),
        *("--config", "jepa_tiny", "--corpus", tiny_corpus, "--global_batch", 4),
        *("--steps", 100_000, "--save_every", 100_000, "--log.every", 2),
        cwd=ROOT,
    )

    def steps() -> int:
        return len(read_rows(files.metrics))

    def starts() -> int:
        return len(read_rows(files.starts))

    # Let the limit come near only now, after a load of unknown length: in one to two minutes, of
    # which the signal comes two minutes before. Slurm looks at limits every 30 s.
    slurm.until(lambda: steps() >= 6, log)
    hours, minutes, _ = slurm.field(job, "RunTime").split(":")
    limit_min = 60 * int(hours) + int(minutes) + 2
    slurm.run("scontrol", "update", f"JobId={job}", f"TimeLimit={limit_min}")
    slurm.until(lambda: slurm.field(job, "Restarts") == "1", log)
    slurm.run("scontrol", "update", f"JobId={job}", "TimeLimit=60")
    (saved,) = files.checkpoint_steps()
    assert saved == steps() >= 6
    assert "the job is queued again" in log.read_text(encoding="utf-8")

    # The second start continues after the saved step. It ends as a finished run does.
    slurm.until(lambda: starts() == 2 and steps() >= saved + 4, log)
    (files.run_dir / "STOP").touch()
    slurm.until(lambda: slurm.state(job) not in ("RUNNING", "COMPLETING"), log)
    assert slurm.state(job) == "COMPLETED", log.read_text(encoding="utf-8")
    assert [row["step"] for row in read_rows(files.metrics)] == list(range(steps()))
    assert max(files.checkpoint_steps()) == steps()
    assert "Traceback" not in log.read_text(encoding="utf-8")
