"""Real launchers: what they were asked for is what runs, and their end stops a run that saves."""

import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from surgrec.runs import RunFiles, read_rows
from tests.support.evaluations import write_labels
from tests.support.processes import finish, free_port, kill_all, recipe, start, until

BIN = Path(sys.executable).parent
LAUNCHERS = {
    "torchrun": [sys.executable, "-m", "surgrec.training.torchrun", "--nproc_per_node", "2"],
    "accelerate": [str(BIN / "accelerate"), "launch", "--cpu"],
}
TWO_PROCESSES = (
    "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_GPU\nuse_cpu: true\n"
    "mixed_precision: 'no'\nnum_processes: 2\nnum_machines: 1\nmachine_rank: 0\n"
)
"""A config of accelerate with which it starts two processes on CPUs, by torchrun."""
OF_TWO_MACHINES = """
compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
use_cpu: true
mixed_precision: 'no'
num_processes: 2
num_machines: 2
machine_rank: {rank}
main_process_ip: 127.0.0.1
main_process_port: {port}
same_network: true
rdzv_backend: static
"""
SAVES = """
import pathlib, signal, sys, time

stopped = []
signal.signal(signal.SIGTERM, lambda number, frame: stopped.append(number))
folder = pathlib.Path(sys.argv[1])
(folder / f"up-{len(list(folder.glob('up-*')))}-{time.time_ns()}").touch()
while not stopped:
    time.sleep(0.05)
time.sleep(1)
(folder / f"saved-{time.time_ns()}").touch()
"""
"""A program that needs a second to save after SIGTERM."""
LOADS = """
import os, pathlib, sys, time

from surgrec.training._launcher import end_with_launcher

launcher = os.getppid()
(pathlib.Path(sys.argv[1]) / "imported").touch()
while os.getppid() == launcher:
    time.sleep(0.05)
end_with_launcher()
time.sleep(300)
"""
"""A program whose launcher ends before the program asks the kernel to tell it."""
ENDLESS = ["--steps", 100_000, "--save_every", 100_000, "--log.every", 2, "--global_batch", 4]


def launched(launcher: list[str], corpus: Path, run_dir: Path, *options: object) -> list[str]:
    """The command of a tiny run that another program launches."""
    return [*launcher, *recipe("jepa", 1, corpus, run_dir, *options)[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(LAUNCHERS))
def test_sigterm_to_the_launcher_saves_and_ends_without_a_traceback(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    files = RunFiles(tmp_path / "run")
    process = start(launched(LAUNCHERS[name], tiny_corpus, tmp_path / "run", *ENDLESS))
    until(process, lambda: len(read_rows(files.metrics)) >= 2)
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    assert process.returncode in (128 + signal.SIGTERM, -signal.SIGTERM), errors

    # `accelerate launch` ends at once; its process saves and leaves on its own.
    _, alive = psutil.wait_procs(ranks, timeout=60)
    assert not alive
    assert files.checkpoint_steps() == [len(read_rows(files.metrics))]


@pytest.mark.slow
def test_sigterm_to_accelerate_launch_while_the_run_loads_stops_it_after_the_first_step(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "run")
    process = start(launched(LAUNCHERS["accelerate"], tiny_corpus, files.run_dir, *ENDLESS))
    until(process, (files.run_dir / "lock").exists)
    (rank,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs([rank], timeout=120)
    if alive:
        rank.kill()
    _, errors = process.communicate(timeout=60)
    assert not alive
    assert files.checkpoint_steps() == [1]
    assert "stopped as requested, with a checkpoint after 1 of" in errors


@pytest.mark.slow
def test_a_launcher_that_ends_while_its_program_loads_ends_the_program(tmp_path: Path) -> None:
    (tmp_path / "loads.py").write_text(LOADS, encoding="utf-8")
    process = start([*LAUNCHERS["accelerate"], str(tmp_path / "loads.py"), str(tmp_path)])
    until(process, (tmp_path / "imported").exists)
    (program,) = psutil.Process(process.pid).children()
    process.terminate()
    _, alive = psutil.wait_procs([program], timeout=60)
    if alive:
        program.kill()
    process.communicate(timeout=60)
    assert not alive


@pytest.mark.slow
def test_sigterm_to_one_rank_saves_the_same_step_of_all_without_a_sync(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "run")
    rarely = [*ENDLESS, "--log.every", 100_000]
    process = start(launched(LAUNCHERS["torchrun"], tiny_corpus, files.run_dir, *rarely))
    until(process, files.starts.exists)
    time.sleep(5)  # some steps
    _, last = psutil.Process(process.pid).children()
    last.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    done = len(read_rows(files.metrics))
    assert files.checkpoint_steps() == [done]
    assert f"stopped as requested, with a checkpoint after {done} of 100000 steps" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_sigterm_to_one_rank_in_the_start_stops_all_after_the_first_step(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "run")
    process = start(launched(LAUNCHERS["torchrun"], tiny_corpus, files.run_dir, *ENDLESS))
    until(process, (files.run_dir / "lock").exists)
    _, last = psutil.Process(process.pid).children()
    last.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert files.checkpoint_steps() == [1]
    assert "stopped as requested, with a checkpoint after 1 of" in errors


@pytest.mark.slow
def test_sigterm_to_one_rank_ends_a_long_first_probe_on_all(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    files = RunFiles(tmp_path / "run")
    corpus = Path(shutil.copytree(tiny_corpus, tmp_path / "corpus"))
    write_labels(corpus)
    split = tmp_path / "split.yaml"
    split.write_text("name: s\ntrain: {sources: [alpha, gamma]}\ntest: {sources: [beta]}\n")
    probe = ["--probe.corpus", corpus, "--probe.split", split, "--probe.clips", 1_000_000]
    process = start(launched(LAUNCHERS["torchrun"], corpus, files.run_dir, *ENDLESS, *probe))
    until(process, files.starts.exists)
    time.sleep(3)  # the probe takes far longer
    _, last = psutil.Process(process.pid).children()
    last.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert files.checkpoint_steps() == [1]
    assert not read_rows(files.probe)
    assert "Traceback" not in errors


@pytest.mark.slow
def test_plain_torchrun_ends_with_1_after_a_save_that_a_resume_continues_exactly(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    plain = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    files = RunFiles(tmp_path / "run")
    process = start(launched(plain, tiny_corpus, files.run_dir, *ENDLESS))
    until(process, lambda: len(read_rows(files.metrics)) >= 2)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "SignalException" in errors
    done = len(read_rows(files.metrics))
    assert files.checkpoint_steps() == [done]

    # The resumed run and one without a stop have the same losses.
    steps = [*ENDLESS, "--steps", done + 2]
    status, errors = finish(launched(plain, tiny_corpus, files.run_dir, *steps, "--resume", "true"))
    assert status == 0, errors
    status, errors = finish(launched(plain, tiny_corpus, tmp_path / "whole", *steps))
    assert status == 0, errors
    resumed, whole = (
        [
            (row["loss"], row["samples_sha256"])
            for row in read_rows(tmp_path / name / "metrics.jsonl")
        ]
        for name in ("run", "whole")
    )
    assert len(whole) == done + 2
    assert resumed == whole


@pytest.mark.parametrize(
    ("command", "ranks", "status", "last_line"),
    [
        (
            ["surgrec.training.accelerate", "launch", "--config_file", "two.yaml"],
            2,
            128 + signal.SIGTERM,
            "accelerate: stopped by SIGTERM, after all ranks had ended",
        ),
        pytest.param(
            ["surgrec.training.accelerate", "launch", "--cpu"],
            1,
            128 + signal.SIGTERM,
            "accelerate: stopped by SIGTERM, after all ranks had ended",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["accelerate.commands.launch", "--config_file", "two.yaml"],
            2,
            1,
            "torch.distributed.elastic.multiprocessing.api.SignalException: Process {pid} got "
            "signal: 15",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_launchers_end_after_their_ranks_with_the_documented_status(
    tmp_path: Path, command: list[str], ranks: int, status: int, last_line: str
) -> None:
    (tmp_path / "two.yaml").write_text(TWO_PROCESSES, encoding="utf-8")
    (tmp_path / "saves.py").write_text(SAVES, encoding="utf-8")
    words = [str(tmp_path / word) if word == "two.yaml" else word for word in command]
    process = start([sys.executable, "-m", *words, str(tmp_path / "saves.py"), str(tmp_path)])
    until(process, lambda: len(list(tmp_path.glob("up-*"))) == ranks)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert len(list(tmp_path.glob("saved-*"))) == ranks, "the launcher waited for them"
    assert process.returncode == status, errors
    assert errors.splitlines()[-1] == last_line.format(pid=process.pid)
    assert ("Traceback" in errors) == (status == 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        [str(BIN / "accelerate-launch"), "--num_processes=2"],
        [str(BIN / "accelerate"), "launch", "--config_file", "two.yaml"],
    ],
)
def test_two_cpu_processes_of_which_accelerate_starts_one_are_refused(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("two.yaml").write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nuse_cpu: true\n"
        "num_processes: 2\nnum_machines: 1\nmachine_rank: 0\n",
        encoding="utf-8",
    )
    words = launched(command, tiny_corpus, tmp_path / "run")
    status, errors = finish(words)
    assert status == 1
    assert "asked for 2 processes, but this run has 1; start one process per GPU" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_default_config_of_a_user_is_refused_by_its_path(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "home/accelerate/default_config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(
        "compute_environment: LOCAL_MACHINE\ndistributed_type: 'NO'\nmixed_precision: fp16\n"
        "num_processes: 1\nuse_cpu: true\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    command = [str(BIN / "accelerate"), "launch", "--quiet"]
    status, errors = finish(launched(command, tiny_corpus, tmp_path / "run"))
    assert status == 1
    assert errors.splitlines()[-1] == (
        f"jepa: error: {config} asks for mixed precision fp16, but the precision of this run is "
        "no; change the file with `accelerate config`, and give --precision no or bf16 if you "
        "need it"
    )


@pytest.mark.slow
def test_a_quiet_accelerate_ends_with_the_sentence_of_the_recipe(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    command = [str(BIN / "accelerate"), "launch", "--quiet", "--cpu"]
    status, errors = finish(launched(command, tiny_corpus, tmp_path / "run", "--stepz", 2))
    assert status == 1
    assert "Traceback" not in errors
    sentence = errors.splitlines()[-1]
    assert sentence.startswith("jepa.py: error: --stepz is not an option")


@pytest.mark.slow
def test_an_error_of_the_main_process_ends_all_ranks_with_its_sentence(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/starts.jsonl").mkdir()  # only the main process writes this file
    command = launched(LAUNCHERS["torchrun"], tiny_corpus, tmp_path / "run", "--log.every", 1)
    status, errors = finish(command)
    assert status == 1
    assert errors.count("jepa: error: ") == 2, errors
    assert errors.splitlines()[-1].startswith("torchrun: rank")
    assert "Traceback" not in errors


@pytest.mark.slow
def test_two_launches_of_accelerate_train_the_run_of_one_launch(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    short = ["--steps", 6, "--log.samples", "true", "--global_batch", 8, "--loader.num_workers", 0]
    port = free_port()
    machines = []
    for rank in range(2):
        config = tmp_path / f"machine{rank}.yaml"
        config.write_text(OF_TWO_MACHINES.format(rank=rank, port=port), encoding="utf-8")
        launcher = [sys.executable, "-m", "surgrec.training.accelerate", "launch"]
        words = [*launcher, "--config_file", str(config)]
        machines.append(start(launched(words, tiny_corpus, tmp_path / "two", *short)))
    status, errors = finish(launched(LAUNCHERS["torchrun"], tiny_corpus, tmp_path / "one", *short))
    assert status == 0, errors
    for machine in machines:
        _, errors = machine.communicate(timeout=240)
        assert machine.returncode == 0, errors

    (begun,) = read_rows(RunFiles(tmp_path / "two").starts)
    assert begun["processes"] == 2
    samples = read_rows(RunFiles(tmp_path / "two").samples)
    assert len(samples) == 6 * 8
    assert samples == read_rows(RunFiles(tmp_path / "one").samples), "losses to the last bit"


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
@pytest.mark.parametrize("rendezvous", ["static", "c10d"])
def test_a_killed_machine_ends_the_run_on_the_other_in_one_sentence(
    tiny_corpus: Path, tmp_path: Path, killed: int, rendezvous: str
) -> None:
    files, port = RunFiles(tmp_path / "run"), str(free_port())
    launcher = [*LAUNCHERS["torchrun"][:3], "--nproc_per_node", "1", "--nnodes", "2"]
    meet = {
        "static": ["--master_addr", "127.0.0.1", "--master_port", port, "--node_rank"],
        "c10d": ["--rdzv_backend", "c10d", "--rdzv_endpoint", f"127.0.0.1:{port}", "--node_rank"],
    }
    machines = []
    for rank in range(2):
        words = [*launcher, *meet[rendezvous], str(rank)]
        machines.append(start(launched(words, tiny_corpus, files.run_dir, *ENDLESS)))
        time.sleep(2)  # the first one keeps the store
    until(machines[1 - killed], lambda: len(read_rows(files.metrics)) >= 2)
    kill_all(machines.pop(killed))
    (other,) = machines
    _, errors = other.communicate(timeout=120)
    assert other.returncode == 1
    assert "Traceback" not in errors
    told = [line for line in errors.splitlines() if line.startswith("jepa: error: ")]
    assert len(told) == 1, errors
    assert "ended without a message, as after a kill" in told[0]
    assert errors.splitlines()[-1].startswith("torchrun: ")


def test_a_launcher_without_the_other_machines_ends_in_one_sentence() -> None:
    words = ["--nnodes", "2", "--node_rank", "1", "--master_port", str(free_port())]
    words += ["--rdzv_conf", "timeout=1", "program.py"]
    process = start([sys.executable, "-m", "surgrec.training.torchrun", *words])
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    last = errors.splitlines()[-1]
    assert last.startswith("torchrun: this machine does not reach the others of the run (")
