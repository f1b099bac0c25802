"""A resume goes on with the same samples, views and masks, or is refused with the difference."""

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import CheckpointError, StorageError
from surgrec.manifest import Video
from surgrec.models import encoder_provenance
from surgrec.runs import RunFiles, read_rows
from surgrec.shards import open_corpus
from tests.support.in_process import train
from tests.support.tool import refusal, surgrec_here
from tests.support.videos import build_corpus, make_video


def state_file(run_dir: Path, step: int) -> Path:
    return run_dir / f"checkpoints/step-{step:08d}/state.json"


def edit_identity(run_dir: Path, step: int, edit: Callable[[dict[str, Any]], None]) -> None:
    """Change the identity in a checkpoint."""
    path = state_file(run_dir, step)
    state = json.loads(path.read_text(encoding="utf-8"))
    edit(state["identity"])
    path.write_text(json.dumps(state), encoding="utf-8")


def test_a_source_built_again_with_another_domain_is_refused(tmp_path: Path) -> None:
    videos = [
        Video(
            path=make_video(tmp_path / f"{source}.mp4", seconds=12, pattern=pattern),
            source=source,
            domain=domain,
            case=source,
            split="train",
            license="CC0",
        )
        for source, domain, pattern in (
            ("alpha", "laparoscopy", "testsrc2"),
            ("beta", "laparoscopy", "testsrc"),
            ("gamma", "cataract", "mandelbrot"),
        )
    ]
    changed = [videos[0], replace(videos[1], domain="cataract"), videos[2]]
    for name, listed in (("before", videos), ("after", changed)):
        build_corpus(tmp_path / name, listed, private=tmp_path / "private")
    digests = [
        open_corpus(str(tmp_path / name))["beta"].entry.digest for name in ("before", "after")
    ]
    assert digests[0] == digests[1], "the clips are the same"

    run_dir = tmp_path / "run"
    train("jepa", tmp_path / "before", run_dir)
    with pytest.raises(CheckpointError) as refused:
        train("jepa", tmp_path / "after", run_dir, "--steps", 4, "--resume", "true")
    assert 'order.sources.beta.domain: saved "laparoscopy", now "cataract"' in str(refused.value)
    assert "order.mixture.stages.0.counts.alpha: saved" in str(refused.value)
    assert len(read_rows(run_dir / "metrics.jsonl")) == 2, "no row was written or dropped"

    # Domains that no level of the mixture divides by decide nothing.
    by_source = ("--mixture.levels", "[{by: source, alpha: 0.5}]")
    train("jepa", tmp_path / "before", tmp_path / "flat", *by_source)
    resume = ("--steps", 3, "--resume", "true")
    train("jepa", tmp_path / "after", tmp_path / "flat", *by_source, *resume)
    assert len(read_rows(tmp_path / "flat/metrics.jsonl")) == 3


def test_a_checkpoint_without_a_newer_field_resumes_at_its_default(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    train("jepa", tiny_corpus, run_dir)

    def as_written_before(identity: dict[str, Any]) -> None:
        del identity["config"]["optimizer"]["grad_clip_each"]
        del identity["config"]["objective"]["masks"][0]["lengths"]
        del identity["order"]["mixture"]["shuffle_window"]

    edit_identity(run_dir, 2, as_written_before)
    words = ("--steps", 3, "--resume", "true")
    with pytest.raises(CheckpointError, match=r"shuffle_window: saved 512, now 8"):
        train("jepa", tiny_corpus, run_dir, *words, "--mixture.shuffle_window", 8)
    train("jepa", tiny_corpus, run_dir, *words)
    assert len(read_rows(run_dir / "metrics.jsonl")) == 3


def test_a_checkpoint_of_the_first_version_resumes_with_a_warning(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    train("jepa", tiny_corpus, run_dir)

    def as_first_written(identity: dict[str, Any]) -> None:
        del identity["versions"], identity["order"]["version"]
        for source in identity["order"]["sources"].values():
            del source["domain"], source["clips"]
        for stage in identity["order"]["mixture"]["stages"]:
            del stage["counts"]

    edit_identity(run_dir, 2, as_first_written)
    capsys.readouterr()
    train("jepa", tiny_corpus, run_dir, "--steps", 3, "--resume", "true")
    assert "recorded no domains, no counts per mixing block" in capsys.readouterr().err
    assert len(read_rows(run_dir / "metrics.jsonl")) == 3


def step_of(run_dir: Path) -> int:
    return encoder_provenance(run_dir / "encoder.safetensors")["step"]


@pytest.mark.parametrize("name", ["jepa", "mae"])
def test_a_resume_at_the_last_step_writes_a_missing_encoder(
    tiny_corpus: Path, tmp_path: Path, name: str
) -> None:
    train(name, tiny_corpus, tmp_path)
    path = tmp_path / "encoder.safetensors"
    saved = path.read_bytes()
    for damage in (path.unlink, lambda: path.write_bytes(saved[:1000])):
        damage()
        train(name, tiny_corpus, tmp_path, "--resume", "true")
        assert path.read_bytes() == saved


def test_an_encoder_that_is_older_than_the_checkpoint_is_refused_until_a_resume(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    """A run of an earlier version, killed between its last checkpoint and the encoder file."""
    run_dir, features = tmp_path / "run", tmp_path / "features"
    train("jepa", tiny_corpus, run_dir)
    old = (run_dir / "encoder.safetensors").read_bytes()
    train("jepa", tiny_corpus, run_dir, "--steps", 3, "--resume", "true")
    (run_dir / "encoder.safetensors").write_bytes(old)

    words = ("features", tiny_corpus, "--out", features, "--encoder")
    found = refusal(surgrec_here(*words, run_dir))
    assert "has an encoder file of step 2, but a checkpoint of step 3" in found
    by_name = surgrec_here(*words, run_dir / "encoder.safetensors")
    assert "of encoder, step 2" in by_name.stderr, "the remedy of the message"

    train("jepa", tiny_corpus, run_dir, "--steps", 3, "--resume", "true")
    assert step_of(run_dir) == 3
    now = surgrec_here("features", tiny_corpus, "--out", tmp_path / "new", "--encoder", run_dir)
    assert "of run, step 3" in now.stderr


def test_a_run_goes_on_with_a_smaller_learning_rate_and_records_it(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train("jepa", tiny_corpus, tmp_path)
    smaller = (
        "--resume",
        "true",
        "--optimizer.lr",
        "{value: 1.0e-5, start: null, warmup_steps: 0}",
    )
    before = files_of(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"optimizer\.lr\.value: saved .*, now 1e-05"
    ) as refused:
        train("jepa", tiny_corpus, tmp_path, *smaller, "--steps", 3)
    assert "; accept the change of the optimizer with --resume_with_changes optimizer, or" in str(
        refused.value
    )
    assert files_of(tmp_path) == before

    named = ("--resume_with_changes", "optimizer")
    with pytest.raises(CheckpointError, match=r"seed: saved 239, now 5; resume with the same"):
        train("jepa", tiny_corpus, tmp_path, *smaller, *named, "--steps", 3, "--seed", 5)
    train("jepa", tiny_corpus, tmp_path, *smaller, *named, "--steps", 3)
    assert "goes on with another optimizer: config.optimizer.lr" in capsys.readouterr().err
    (start,) = (row for row in read_rows(tmp_path / "starts.jsonl") if "tuned" in row)
    assert any("config.optimizer.lr.value: saved" in line for line in start["tuned"])
    assert read_rows(tmp_path / "metrics.jsonl")[-1]["lr"] == 1e-5
    (record,) = encoder_provenance(tmp_path / "encoder.safetensors")["tuned"]
    assert record == {"step": 2, "changed": start["tuned"]}

    # The history stays when nothing changes, and the change needs no name any more.
    train("jepa", tiny_corpus, tmp_path, *smaller, "--steps", 4)
    assert encoder_provenance(tmp_path / "encoder.safetensors")["tuned"] == [record]


def files_of(run_dir: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(run_dir)): path.read_bytes()
        for path in run_dir.rglob("*")
        if path.is_file()
    }


def checkpoints_as_file(run_dir: Path) -> None:
    (run_dir / "checkpoints").write_text("x", encoding="utf-8")


def without_encoder(run_dir: Path) -> None:
    (run_dir / "encoder.safetensors").unlink()


def with_damaged_encoder(run_dir: Path) -> None:
    (run_dir / "encoder.safetensors").write_bytes(b"")


def without_log(run_dir: Path) -> None:
    (run_dir / "metrics.jsonl").unlink()


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda run_dir: None, "has an encoder file of step 2, but no checkpoint"),
        (without_log, "has an encoder file of step 2, but no checkpoint"),
        (with_damaged_encoder, "has an encoder file, but no checkpoint"),
        (without_encoder, "has rows of 2 steps, which reach the first save"),
        (lambda run_dir: (run_dir / "checkpoints").mkdir(), "has an encoder file of step 2"),
        (checkpoints_as_file, "checkpoints is not a folder; move it away"),
        (
            lambda run_dir: (run_dir / "checkpoints").symlink_to("/unmounted/scratch"),
            "is a link to /unmounted/scratch, where no folder is; mount",
        ),
        (
            lambda run_dir: (run_dir / "checkpoints").symlink_to("checkpoints"),
            "is a link to checkpoints, where no folder is",
        ),
    ],
)
def test_a_run_whose_checkpoints_are_gone_is_refused_and_kept(
    tiny_corpus: Path, tmp_path: Path, edit: Callable[[Path], object], words: str
) -> None:
    run_dir = tmp_path / "run"
    train("jepa", tiny_corpus, run_dir)
    shutil.rmtree(run_dir / "checkpoints")
    edit(run_dir)
    before = files_of(run_dir)
    for resume in ("true", "false"):
        with pytest.raises(CheckpointError) as refused:
            train("jepa", tiny_corpus, run_dir, "--steps", 1, "--resume", resume)
        assert words in str(refused.value)
        assert files_of(run_dir) == before


def test_a_run_killed_before_or_in_its_first_save_starts_again(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    resume = ("--resume", "true")
    train("jepa", tiny_corpus, run_dir, *resume)
    assert "has no checkpoint yet; the run starts at step 0" in capsys.readouterr().err
    metrics, saved = run_dir / "metrics.jsonl", (run_dir / "encoder.safetensors").read_bytes()
    first_row = metrics.read_text(encoding="utf-8").splitlines(keepends=True)[0]

    def killed_before_the_save() -> None:
        shutil.rmtree(run_dir / "checkpoints")
        without_encoder(run_dir)
        metrics.write_text(first_row, encoding="utf-8")

    def killed_in_the_save() -> None:
        checkpoint = run_dir / "checkpoints/step-00000002"
        checkpoint.rename(checkpoint.with_name(".step-00000002.partial"))
        without_encoder(run_dir)

    def killed_behind_the_encoder_file() -> None:
        checkpoint = run_dir / "checkpoints/step-00000002"
        checkpoint.rename(checkpoint.with_name(".step-00000002.partial"))

    for kill in (killed_before_the_save, killed_in_the_save, killed_behind_the_encoder_file):
        kill()
        # An earlier save than the one that the killed run was to make.
        train("jepa", tiny_corpus, run_dir, *resume, "--save_every", 1)
        assert "has no checkpoint yet; the run starts at step 0" in capsys.readouterr().err
        assert (run_dir / "encoder.safetensors").read_bytes() == saved
        assert len(read_rows(metrics)) == 2
        shutil.rmtree(run_dir)
        train("jepa", tiny_corpus, run_dir)


def test_a_full_disk_ends_the_run_at_the_next_sync_and_a_resume_goes_on(
    tiny_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first save fails while the training goes on, so the log is ahead of all checkpoints."""
    words = ("--steps", 4, "--save_every", 3, "--milestone_every", 3, "--keep_checkpoints", 1)
    with monkeypatch.context() as patched:
        patched.setattr("surgrec.training._checkpoint.save_file", full_disk)
        with pytest.raises(StorageError, match="No space left on device") as ended:
            train("mae", tiny_corpus, tmp_path, *words)
    assert "step-00000003 cannot be written" in str(ended.value)
    assert "check the disk, and resume from step 0" in str(ended.value)
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 4, "the step during the save is logged"

    train("mae", tiny_corpus, tmp_path, *words, "--resume", "true")
    assert RunFiles(tmp_path).checkpoint_steps() == [3, 4], "a milestone and the newest"
    assert step_of(tmp_path) == 4


def full_disk(tensors: object, path: Path) -> None:
    time.sleep(0.2)
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
