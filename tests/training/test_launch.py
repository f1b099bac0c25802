"""A run refuses a number of processes it was not launched for, and stops when it is asked to."""

import os
import signal
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from surgrec.errors import SetupError
from surgrec.training._launch import StopRequest, check_world, launched_processes


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_torchrun_and_srun_say_how_many_processes_they_started(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    assert launched_processes() == {}
    clean_environment.setenv("SLURM_NTASKS", "4")
    assert launched_processes() == {}, (
        "an allocation of four tasks is not yet a step that started four"
    )
    clean_environment.setenv("SLURM_STEP_ID", "0")
    clean_environment.setenv("SLURM_PROCID", "0")
    assert launched_processes() == {"srun (SLURM_NTASKS)": 4}
    clean_environment.setenv("WORLD_SIZE", "2")
    assert launched_processes() == {"torchrun (WORLD_SIZE)": 2}


def test_a_process_that_sees_only_itself_refuses_to_be_one_of_two() -> None:
    with pytest.raises(SetupError, match="torchrun asked for 2 processes, but this run has 1"):
        check_world(1, {"torchrun": 2})
    check_world(2, {"torchrun": 2})


@pytest.mark.parametrize(
    ("module", "program"),
    [(None, "recipes/mae.py"), ("surgrec.recipes.jepa", "-m surgrec.recipes.jepa")],
)
def test_a_refused_launch_names_the_command_to_use(
    monkeypatch: pytest.MonkeyPatch, module: str | None, program: str
) -> None:
    spec = None if module is None else ModuleSpec(module, loader=None)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    monkeypatch.setattr(sys, "argv", ["recipes/mae.py", "--config", "mae_tiny"])
    with pytest.raises(SetupError, match=f"torchrun --nproc_per_node N {program} ..."):
        check_world(1, {"torchrun": 2})


def test_sigterm_and_a_stop_file_ask_for_a_stop(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        stop = StopRequest(tmp_path)
        assert not stop
        (tmp_path / "STOP").touch()
        assert stop
        stop.clear()
        assert not stop
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop
    finally:
        signal.signal(signal.SIGTERM, before)
