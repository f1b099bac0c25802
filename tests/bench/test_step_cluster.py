"""Steps on a cluster: what they need of a machine, and what it must have."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from surgrec.bench import Settings, Step
from surgrec.bench._step_cluster import Capacity, capacity, place, run_step
from surgrec.errors import ConfigError, SetupError
from surgrec.machines import MachineCheck, Resources, result_versions, shared_folder
from tests.bench.test_runner import LIST
from tests.support.tool import refusal, surgrec_here

GIB = 1 << 30
EVALUATE = Step(
    name="evaluate/a/b",
    kind="evaluate",
    program="surgrec",
    words=("evaluate",),
    machine=("--batch", "16", "--device", "auto", "--processes", "4"),
    outputs=("tasks",),
)
BUILD = replace(EVALUATE, kind="build", machine=("--private", "private"))


def machine(cores: int, gpus: int = 0) -> dict[str, float]:
    """Return the resources of a machine."""
    return {"CPU": float(cores), "GPU": float(gpus), "memory": 64.0 * GIB}


def test_the_smallest_machine_that_can_run_steps_sets_their_cores() -> None:
    machines = [machine(0), machine(32, 8), machine(8)]
    assert capacity(machines, Settings()) == Capacity(cores=8, gpus=8)
    assert capacity(machines, Settings(device="cpu")) == Capacity(cores=8, gpus=0)
    with pytest.raises(SetupError, match=r"no machine of the Ray cluster offers a core and 2\.0"):
        capacity([machine(0)], Settings())
    with pytest.raises(SetupError, match="--device is cuda, and no machine of the Ray cluster"):
        capacity([machine(8)], Settings(device="cuda"))


def test_an_evaluation_has_a_gpu_and_a_build_the_cores_of_a_machine() -> None:
    offered, settings = Capacity(cores=8, gpus=2), Settings(processes=4, engine="ray")
    step, resources = place(EVALUATE, offered, settings)
    assert step.machine == ("--batch", "16", "--device", "cuda", "--processes", "4")
    assert resources == Resources(cores=4, memory_bytes=8 * GIB, gpus=1.0)
    assert step.digest({}) == EVALUATE.digest({})
    step, resources = place(EVALUATE, Capacity(cores=2, gpus=0), settings)
    assert step.machine[3] == "cpu"
    assert resources == Resources(cores=2, memory_bytes=4 * GIB)

    step, resources = place(BUILD, offered, settings)
    assert step.machine == ("--private", "private", "--workers", "8")
    assert resources == Resources(cores=8, memory_bytes=8 * GIB)
    assert place(BUILD, offered, Settings(workers=3))[1].cores == 3
    assert place(replace(BUILD, kind="dedup"), offered, settings)[1].cores == 8
    assert place(LIST, offered, settings) == (LIST, Resources())


@pytest.fixture
def check(tmp_path: Path) -> Iterator[MachineCheck]:
    with shared_folder(tmp_path, kind="folder of the benchmark", option="--out") as folder:
        yield MachineCheck(folders=(folder,), inputs=(str(tmp_path),), versions=result_versions())


def test_a_step_runs_once_at_a_time_and_leaves_no_lock(
    check: MachineCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run_step(LIST, tmp_path, check) == (0, "")
    assert (tmp_path / LIST.prints).exists()
    assert [path.name for path in (tmp_path / "logs/check").iterdir()] == ["all.log"]

    monkeypatch.setattr("surgrec.storage.lock._WAIT_S", 0.1)
    monkeypatch.setattr("fcntl.lockf", _refuse)
    with pytest.raises(ConfigError, match="another process is running the step check/all"):
        run_step(LIST, tmp_path, check)
    monkeypatch.undo()
    assert run_step(LIST, tmp_path, check) == (0, "")


def _refuse(*_: object) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_a_machine_that_lacks_a_folder_an_input_or_a_version_runs_nothing(
    check: MachineCheck, tmp_path: Path
) -> None:
    other = replace(check, inputs=(str(tmp_path / "copy"),))
    with pytest.raises(SetupError, match=rf"does not see {tmp_path}/copy, which the machine of"):
        run_step(LIST, tmp_path, other)
    other = replace(check, versions="SurgRec 0.0 with torch 1.0")
    with pytest.raises(SetupError, match=r"has SurgRec .* has SurgRec 0\.0 with torch 1\.0"):
        run_step(LIST, tmp_path, other)
    check.folders[0].marker.unlink()
    with pytest.raises(SetupError, match=r"does not see the folder of the benchmark .*--out"):
        run_step(LIST, tmp_path, check)
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_the_engine_is_refused(tmp_path: Path) -> None:
    words = ("bench", "--tasks", "cholec80-phase", "--encoders", "a=pixels", "--out", tmp_path)
    sentence = refusal(surgrec_here(*words, "--address", "10.0.0.1:6379"))
    assert "--address 10.0.0.1:6379 is for --engine ray; give both or neither" in sentence
