"""A collapse of the targets raises its alarm in a real training, and a healthy one raises none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from surgrec.runs import RunFiles, read_rows
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow


def alarms_of(kind: str, corpus: Path, run_dir: Path) -> dict[str, int]:
    """Train 300 steps; return the step of each alarm about the training by its kind."""
    words = [sys.executable, ROOT / "benchmarks/alarms.py", "--kind", kind, "--steps", "300"]
    words += ["--corpus", corpus, "--run_dir", run_dir]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *sys.path])
    subprocess.run(words, env=environment, timeout=1200, check=True, capture_output=True)
    assert len(read_rows(RunFiles(run_dir).metrics)) == 300
    file = RunFiles(run_dir).alarms
    rows = read_rows(file) if file.exists() else []
    # A busy machine may let the run wait for its data.
    return {row["kind"]: row["step"] for row in rows if row["kind"] not in ("loader", "rank")}


def test_gradients_in_the_target_raise_the_alarm_within_300_steps(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    alarms = alarms_of("collapse", tiny_corpus, tmp_path / "run")
    assert 0 < alarms["collapse"] <= 300


def test_a_healthy_training_raises_no_alarm(tiny_corpus: Path, tmp_path: Path) -> None:
    assert alarms_of("healthy", tiny_corpus, tmp_path / "run") == {}
