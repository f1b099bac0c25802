"""A resume goes on with the same samples, views and masks, or is refused with the difference."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from surgrec.errors import CheckpointError
from surgrec.manifest import Video
from surgrec.runs import read_rows
from surgrec.shards import open_corpus
from tests.support.in_process import train
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
            labels=None,
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
