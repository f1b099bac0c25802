"""A resume goes on with the same samples, views and masks, or is refused with the difference."""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import surgrec
from surgrec import load_clips
from surgrec.errors import CheckpointError, ConfigError, StorageError
from surgrec.manifest import Video
from surgrec.models import encoder_provenance
from surgrec.runs import RunFiles, read_rows
from surgrec.shards import open_corpus
from tests.support.in_process import train
from tests.support.samples import change_cell
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


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A corpus, and two others: one with another test split, one with another train split."""
    folder = tmp_path_factory.mktemp("corpora")

    def video(source: str, split: str, pattern: str) -> Video:
        path = make_video(folder / f"{pattern}.mp4", seconds=8, pattern=pattern)
        return Video(
            path=path,
            source=source,
            domain="laparoscopy",
            case=pattern,
            split=split,  # type: ignore[arg-type]  # one of the literals, as the calls below show
            license="CC0",
        )

    train_part, test_part = video("alpha", "train", "testsrc2"), video("alpha", "test", "testsrc")
    added = [video("alpha", "test", "mandelbrot"), video("beta", "test", "rgbtestsrc")]
    listed = {
        "before": [train_part, test_part],
        "other test": [train_part, *added],
        "other train": [video("alpha", "train", "smptebars"), test_part],
    }
    for name, videos in listed.items():
        build_corpus(folder / name, videos, private=folder / "private")
    return {name: folder / name for name in listed}


def test_a_changed_test_split_changes_nothing_for_a_run_on_train(
    corpora: dict[str, Path], tmp_path: Path
) -> None:
    train("jepa", corpora["before"], tmp_path / "whole", "--steps", 4)
    train("jepa", corpora["before"], tmp_path / "run")
    train("jepa", corpora["other test"], tmp_path / "run", "--steps", 4, "--resume", "true")
    losses = [
        [(row["samples_sha256"], row["loss"]) for row in read_rows(tmp_path / name)]
        for name in ("whole/metrics.jsonl", "run/metrics.jsonl")
    ]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 4


def test_a_changed_train_split_is_refused_in_words(
    corpora: dict[str, Path], tmp_path: Path
) -> None:
    train("jepa", corpora["before"], tmp_path)
    resume = ("--steps", 3, "--resume", "true")
    with pytest.raises(CheckpointError) as refused:
        train("jepa", corpora["other train"], tmp_path, *resume)
    assert str(refused.value).endswith(
        "differs from this one: order.sources.alpha.admitted: other admitted clips than in the "
        "saved run, or another order of them; give the corpus as it was, or start in another "
        "run_dir"
    )

    # Earlier versions saved digests of whole sources alone.
    def as_written_before(identity: dict[str, Any]) -> None:
        del identity["order"]["sources"]["alpha"]["admitted"]

    edit_identity(tmp_path, 2, as_written_before)
    for name, words in (
        ("other train", "order.sources.alpha.digest: other clips, admitted or not, than in the"),
        ("other test", "order.sources.beta: the saved run did not draw from it"),
    ):
        with pytest.raises(CheckpointError, match=words):
            train("jepa", corpora[name], tmp_path, *resume)
    train("jepa", corpora["before"], tmp_path, *resume)
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 3


def test_the_state_of_a_loader_belongs_to_the_admitted_clips(corpora: dict[str, Path]) -> None:
    loaders = {
        name: load_clips(corpus, batch_size=4, num_frames=4, fps=4.0, crop_px=32, seed=5)
        for name, corpus in corpora.items()
    }
    state = loaders["before"].state_dict()
    loaders["other test"].load_state_dict(state)
    with pytest.raises(ConfigError, match="saved with another corpus, mixture or seed"):
        loaders["other train"].load_state_dict(state)

    # Earlier versions saved the digest of this.
    identity = loaders["before"].dataset.stream.order.identity(0)
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    loaders["before"].load_state_dict({"position": 0, "order": digest})
    with pytest.raises(ConfigError, match="saved with another corpus, mixture or seed"):
        loaders["other test"].load_state_dict({"position": 0, "order": digest})


def test_a_checkpoint_of_another_version_names_the_row_with_that_version(
    tiny_corpus: Path, tmp_path: Path
) -> None:
    train("jepa", tiny_corpus, tmp_path)
    edit_identity(tmp_path, 2, lambda identity: identity["versions"].update(masks=0))
    edit_identity(tmp_path, 2, lambda identity: identity["order"].update(version=0))
    starts = read_rows(tmp_path / "starts.jsonl")
    with pytest.raises(CheckpointError) as refused:
        train("jepa", tiny_corpus, tmp_path, "--steps", 3, "--resume", "true")
    assert re.search(
        r": order\.version: saved 0, now \d; versions\.masks: saved 0, now \d; install the version "
        r"of SurgRec that the last row of starts\.jsonl names, or start in another run_dir$",
        str(refused.value),
    )
    assert read_rows(tmp_path / "starts.jsonl") == starts, "the refused start is no row"
    assert starts[-1]["surgrec"] == surgrec.__version__


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
            del source["domain"], source["clips"], source["admitted"]
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


OTHER_JOINS = (
    r"order\.sources\.alpha\.joins: clips of other videos, times or frame rates than in the saved "
    r"run; give the corpus as it was, or start in another run_dir$"
)


def without_joins(identity: dict[str, Any]) -> None:
    """Change an identity to what a version wrote that did not record which clips are adjacent."""
    for source in identity["order"]["sources"].values():
        del source["joins"]


def test_a_run_with_joined_clips_resumes_with_the_same_losses(
    tiny_corpus: Path, corpus_copy: Path, tmp_path: Path
) -> None:
    """Clips of 8 s, from stored clips of 4 s and 2 s."""
    joined = ("--sampling_fps", 1, "--join_clips", "true", "--drift.every", 1, "--drift.clips", 8)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train("jepa", tiny_corpus, whole, *joined, "--steps", 2)
    train("jepa", tiny_corpus, parts, *joined, "--steps", 1)
    resume = ("--steps", 2, "--resume", "true")
    with pytest.raises(CheckpointError, match=r"config.join_clips: saved true, now false"):
        train("jepa", tiny_corpus, parts, "--sampling_fps", 8, *resume)
    change_cell(corpus_copy, "alpha", "start_s", 0, lambda start_s: start_s + 0.05)
    with pytest.raises(CheckpointError, match=OTHER_JOINS) as refused:
        train("jepa", corpus_copy, parts, *joined, *resume)
    assert str(refused.value).count("saved run") == 1, "nothing else differs"
    edit_identity(parts, 1, without_joins)
    train("jepa", tiny_corpus, parts, *joined, *resume)

    losses, drifts = (
        [[row[field] for row in read_rows(run / name)] for run in (whole, parts)]
        for name, field in (("metrics.jsonl", "loss"), ("drift.jsonl", "cosine"))
    )
    assert len(losses[0]) == 2
    assert losses[0] == losses[1]
    assert len(drifts[0]) == 2
    assert drifts[0] == drifts[1]
