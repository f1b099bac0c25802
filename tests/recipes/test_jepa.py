"""The JEPA recipe as a user starts it: real processes that are killed, stopped and resumed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from surgrec.models import encoder_provenance, read_encoder
from surgrec.runs import read_rows
from surgrec.storage import open_store
from tests.support.processes import finish, kill_all, recipe, start, until

STEPS, SAVE_EVERY = 50, 10
FAST = [
    "--steps",
    STEPS,
    "--save_every",
    SAVE_EVERY,
    "--log.every",
    2,
    "--log.samples",
    "true",
    "--global_batch",
    8,
]


def jepa(processes: int, corpus: Path | str, run_dir: Path, *options: object) -> list[str]:
    """The command of a tiny run; later options win."""
    return recipe("jepa", processes, corpus, run_dir, *FAST, *options)


def samples_of(run_dir: Path) -> list[dict[str, Any]]:
    return read_rows(run_dir / "samples.jsonl")


@pytest.fixture(scope="module")
def whole_run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that nothing disturbed."""
    run_dir = tmp_path_factory.mktemp("whole") / "run"
    status, errors = finish(jepa(2, tiny_corpus, run_dir))
    assert status == 0, errors
    return run_dir


@pytest.fixture(scope="module")
def killed_run(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, killed with -9 after it had logged steps beyond its last checkpoint."""
    run_dir = tmp_path_factory.mktemp("killed") / "run"
    process = start(
        jepa(2, tiny_corpus, run_dir, "--steps", 1000)
    )  # so that it cannot be done before it is killed
    until(process, lambda: len(read_rows(run_dir / "metrics.jsonl")) > SAVE_EVERY + 1)
    kill_all(process)
    return run_dir


@pytest.mark.slow
def test_a_killed_run_resumes_with_bit_identical_losses(
    tiny_corpus: Path, whole_run: Path, killed_run: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(killed_run, tmp_path / "run"))
    status, errors = finish(jepa(2, tiny_corpus, run_dir, "--resume", "true"))
    assert status == 0, errors
    assert SAVE_EVERY <= read_rows(run_dir / "starts.jsonl")[-1]["step"] < STEPS, (
        "it began from a checkpoint"
    )
    assert samples_of(run_dir) == samples_of(whole_run)
    for name in ("loss", "gradient_norm", "samples_sha256"):
        assert [row[name] for row in read_rows(run_dir / "metrics.jsonl")] == [
            row[name] for row in read_rows(whole_run / "metrics.jsonl")
        ]
    assert (run_dir / "encoder.safetensors").read_bytes() == (
        whole_run / "encoder.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_run_from_an_object_store_equals_one_from_disk(
    tiny_corpus: Path, whole_run: Path, s3_address: str, tmp_path: Path
) -> None:
    store = open_store(s3_address)
    for path in tiny_corpus.rglob("*"):
        if path.is_file():
            store.upload(path.relative_to(tiny_corpus).as_posix(), path)
    status, errors = finish(jepa(2, s3_address, tmp_path / "run"))
    assert status == 0, errors
    assert samples_of(tmp_path / "run") == samples_of(whole_run), (
        "the same keys, and losses equal to the last bit"
    )
    assert len(samples_of(whole_run)) == 50 * 8
    assert (tmp_path / "run/encoder.safetensors").read_bytes() == (
        whole_run / "encoder.safetensors"
    ).read_bytes()


@pytest.mark.slow
def test_a_killed_run_resumes_on_one_process_with_the_same_samples(
    tiny_corpus: Path, whole_run: Path, killed_run: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(killed_run, tmp_path / "run"))
    status, errors = finish(
        jepa(1, tiny_corpus, run_dir, "--resume", "true", "--loader.num_workers", 0)
    )
    assert status == 0, errors
    places = ("step", "slot", "source", "key")
    assert [[row[name] for name in places] for row in samples_of(run_dir)] == [
        [row[name] for name in places] for row in samples_of(whole_run)
    ]
    losses = [row["loss"] for row in samples_of(run_dir)]
    assert losses == pytest.approx([row["loss"] for row in samples_of(whole_run)], rel=1e-3), (
        "the same objective, too"
    )


@pytest.mark.slow
def test_the_run_logs_the_keys_that_the_order_command_prints(
    tiny_corpus: Path, whole_run: Path
) -> None:
    command = [sys.executable, "-m", "surgrec"]
    options = [
        "--seed",
        "239",
        "--global_batch",
        "8",
        "--world_size",
        "2",
        "--rank",
        "1",
        "--num_steps",
        str(STEPS),
    ]
    printed = subprocess.run(
        [*command, "order", str(tiny_corpus), *options], capture_output=True, text=True, check=True
    ).stdout
    ordered = [json.loads(line) for line in printed.splitlines()]
    logged = [row for row in samples_of(whole_run) if row["slot"] >= 4]
    assert [(row["step"], row["slot"], row["key"]) for row in ordered] == [
        (row["step"], row["slot"], row["key"]) for row in logged
    ]
    mix = [*command, "mix", str(tiny_corpus), "--run", str(whole_run)]
    verdict = subprocess.run(mix, capture_output=True, text=True, check=True).stderr
    assert "the draws match the plan exactly" in verdict


@pytest.mark.slow
def test_every_step_has_a_complete_row(whole_run: Path) -> None:
    rows = read_rows(whole_run / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(STEPS))
    wanted = {
        "loss",
        "loss_by_source",
        "consumed",
        "data_wait_s",
        "step_s",
        "clips_per_s",
        "mfu",
        "lr",
        "momentum",
    }
    assert all(wanted <= row.keys() for row in rows)
    assert all(sum(row["consumed"].values()) == 8 for row in rows)
    assert {"token_std", "rankme", "between_clip_variance"} <= rows[-1].keys()


@pytest.mark.slow
def test_the_encoder_file_has_its_provenance(whole_run: Path) -> None:
    path = whole_run / "encoder.safetensors"
    provenance = encoder_provenance(path)
    assert provenance["step"] == STEPS
    assert sum(provenance["consumed"].values()) == STEPS * 8
    assert provenance["order"]["seed"] == 239
    assert read_encoder(path).config.width == 96


@pytest.mark.slow
def test_sigterm_and_a_stop_file_save_a_checkpoint_and_stop(
    tiny_corpus: Path, whole_run: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    endless = [
        "--save_every",
        100_000,
        "--steps",
        100_000,
    ]  # nothing is saved, unless because it is asked to stop
    process = start(jepa(2, tiny_corpus, run_dir, *endless))
    until(process, lambda: len(read_rows(run_dir / "metrics.jsonl")) >= 2)
    for running in psutil.Process(process.pid).children(
        recursive=True
    ):  # both ranks and their loaders, as Slurm does
        running.terminate()
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    reached = len(read_rows(run_dir / "metrics.jsonl"))
    assert [path.name for path in (run_dir / "checkpoints").iterdir()] == [f"step-{reached:08d}"]
    assert f"stopped as requested, with a checkpoint after {reached} of 100000 steps" in errors

    process = start(jepa(1, tiny_corpus, run_dir, *endless, "--resume", "true"))
    (run_dir / "STOP").touch()  # while it is starting
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert not (run_dir / "STOP").exists(), "the next start is not stopped at once"
    assert len(read_rows(run_dir / "metrics.jsonl")) == reached + 1, "after the next step"
    both = min(reached + 1, STEPS) * 8
    assert [row["key"] for row in samples_of(run_dir)][:both] == [
        row["key"] for row in samples_of(whole_run)
    ][:both]


@pytest.mark.slow
def test_one_process_launched_for_two_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    launch = [
        str(Path(sys.executable).with_name("accelerate")),
        "launch",
        "--cpu",
        "--num_processes",
        "2",
    ]
    status, errors = finish([*launch, *jepa(1, tiny_corpus, tmp_path / "run")[1:]])
    assert status == 1
    assert "accelerate launch --num_processes asked for 2 processes, but this run has 1" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_infinite_loss_ends_with_one_sentence(tiny_corpus: Path, tmp_path: Path) -> None:
    wild = ["--optimizer.lr", "{value: 1000.0}", "--loader.num_workers", 0]
    wild += ["--log.max_skipped_steps", 0]
    status, errors = finish(jepa(1, tiny_corpus, tmp_path / "run", *wild))
    assert status == 1
    assert re.search(r"jepa: error: .* (were skipped|is not finite)", errors)
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_refused_resume_changes_nothing_in_the_folder(tiny_corpus: Path, whole_run: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole_run.iterdir() if path.is_file()}
    status, errors = finish(
        jepa(1, tiny_corpus, whole_run, "--resume", "true", "--seed", 5, "--steps", 50)
    )
    assert status == 1
    assert "order.seed: saved 239, now 5" in errors
    assert {
        path.name: path.read_bytes() for path in whole_run.iterdir() if path.is_file()
    } == before
