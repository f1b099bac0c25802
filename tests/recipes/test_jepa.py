"""The JEPA recipe as a user starts it: real processes that are killed, stopped and resumed."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from surgrec.models.weights import encoder_provenance, load_encoder
from surgrec.training.rows import read_rows

ROOT = Path(__file__).parents[2]
STEPS, SAVE_EVERY = 40, 8
FAST = ["--steps", STEPS, "--save_every", SAVE_EVERY, "--log.every", 2, "--log.samples", "true", "--global_batch", 8]


def recipe(processes: int, corpus: Path, run_dir: Path, *options: object) -> list[str]:
    """The command of a tiny run; later options win."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "--standalone"]
    words = [
        "--config",
        ROOT / "recipes/configs/jepa_tiny.yaml",
        "--corpus",
        corpus,
        "--run_dir",
        run_dir,
        *FAST,
        *options,
    ]
    program = launcher if processes > 1 else [sys.executable]
    return [*program, str(ROOT / "recipes/jepa.py"), *(str(word) for word in words)]


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    environment.pop("WORLD_SIZE", None)
    return subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)


def finish(command: list[str]) -> tuple[int, str]:
    process = start(command)
    _, errors = process.communicate(timeout=240)
    return process.returncode, errors


def until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    """Waits for a condition while the process runs."""
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the run did not get there in four minutes"
        time.sleep(0.05)


def samples_of(run_dir: Path) -> list[dict[str, Any]]:
    return read_rows(run_dir / "samples.jsonl")


@pytest.fixture(scope="module")
def whole_run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    status, errors = finish(recipe(2, tiny_corpus, run_dir))
    assert status == 0, errors
    return run_dir


@pytest.fixture(scope="module")
def killed_run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed with -9 after it had logged steps beyond its last checkpoint."""
    run_dir = tmp_path_factory.mktemp("killed") / "run"
    process = start(recipe(2, tiny_corpus, run_dir, "--steps", 1000))  # so that it cannot be done before it is killed
    until(process, lambda: len(read_rows(run_dir / "metrics.jsonl")) > SAVE_EVERY + 1)
    parent = psutil.Process(process.pid)
    for running in [*parent.children(recursive=True), parent]:  # torchrun's workers would outlive it
        running.kill()
    process.communicate()
    return run_dir


def test_a_killed_run_resumes_with_the_same_samples_and_bit_identical_losses(
    tiny_corpus: Path, whole_run: Path, killed_run: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(killed_run, tmp_path / "run"))
    status, errors = finish(recipe(2, tiny_corpus, run_dir, "--resume", "true"))
    assert status == 0, errors
    assert SAVE_EVERY <= read_rows(run_dir / "starts.jsonl")[-1]["step"] < STEPS, "it began from a checkpoint"
    assert samples_of(run_dir) == samples_of(whole_run)
    for name in ("loss", "gradient_norm", "samples_sha256"):
        assert [row[name] for row in read_rows(run_dir / "metrics.jsonl")] == [
            row[name] for row in read_rows(whole_run / "metrics.jsonl")
        ]
    assert (run_dir / "encoder.safetensors").read_bytes() == (whole_run / "encoder.safetensors").read_bytes()


def test_a_killed_run_resumes_on_one_process_with_the_same_samples(
    tiny_corpus: Path, whole_run: Path, killed_run: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(killed_run, tmp_path / "run"))
    status, errors = finish(recipe(1, tiny_corpus, run_dir, "--resume", "true", "--loader.num_workers", 0))
    assert status == 0, errors
    places = ("step", "slot", "source", "key")
    assert [[row[name] for name in places] for row in samples_of(run_dir)] == [
        [row[name] for name in places] for row in samples_of(whole_run)
    ]
    losses = [row["loss"] for row in samples_of(run_dir)]
    assert losses == pytest.approx([row["loss"] for row in samples_of(whole_run)], rel=1e-3), "the same objective, too"


def test_the_run_logs_the_keys_that_the_order_command_prints(tiny_corpus: Path, whole_run: Path) -> None:
    command = [sys.executable, "-c", "from surgrec_shard.commands import main; main()", "order", str(tiny_corpus)]
    options = ["--seed", "239", "--global_batch", "8", "--world_size", "2", "--rank", "1", "--num_steps", str(STEPS)]
    printed = subprocess.run([*command, *options], capture_output=True, text=True, check=True).stdout
    ordered = [json.loads(line) for line in printed.splitlines()]
    logged = [row for row in samples_of(whole_run) if row["slot"] >= 4]
    assert [(row["step"], row["slot"], row["key"]) for row in ordered] == [
        (row["step"], row["slot"], row["key"]) for row in logged
    ]


def test_every_step_has_a_row_with_everything_one_asks_for(whole_run: Path) -> None:
    rows = read_rows(whole_run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(STEPS))
    wanted = {"loss", "loss_by_source", "consumed", "data_wait_s", "step_s", "clips_per_s", "mfu", "lr", "momentum"}
    assert all(wanted <= row.keys() for row in rows)
    assert all(sum(row["consumed"].values()) == 8 for row in rows)
    assert {"target_std", "rankme", "between_clip_variance"} <= rows[-1].keys()


def test_the_encoder_says_where_it_comes_from(whole_run: Path) -> None:
    path = whole_run / "encoder.safetensors"
    provenance = encoder_provenance(path)
    assert provenance["step"] == STEPS
    assert sum(provenance["consumed"].values()) == STEPS * 8
    assert provenance["order"]["seed"] == 239
    assert load_encoder(path).config.width == 96


def test_sigterm_saves_and_leaves_and_a_stop_file_does_the_same(
    tiny_corpus: Path, whole_run: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    process = start(recipe(1, tiny_corpus, run_dir, "--save_every", 1000, "--loader.num_workers", 0))
    until(process, lambda: len(read_rows(run_dir / "metrics.jsonl")) >= 2)
    process.terminate()
    assert process.wait(timeout=120) == 0, process.communicate()[1]
    reached = len(read_rows(run_dir / "metrics.jsonl"))
    assert 2 <= reached < STEPS, "it left early, at a step that the ranks agreed on"
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == [f"step-{reached:08d}"]
    (run_dir / "STOP").touch()
    status, errors = finish(recipe(1, tiny_corpus, run_dir, "--save_every", 1000, "--resume", "true"))
    assert status == 0, errors
    assert not (run_dir / "STOP").exists(), "the next start is not stopped at once"
    assert len(read_rows(run_dir / "metrics.jsonl")) == reached + 2
    assert [row["key"] for row in samples_of(run_dir)] == [row["key"] for row in samples_of(whole_run)][
        : (reached + 2) * 8
    ]
