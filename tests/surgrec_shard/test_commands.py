"""`info`, the moved commands, and the modules that the tool imports."""

import json
from pathlib import Path

import pytest

from tests.support.tool import (
    QUICK,
    heavy_modules_of,
    refusal,
    run_here,
    run_surgrec,
    run_tool,
)
from tests.support.videos import make_video


def test_info_counts_what_a_corpus_holds(tiny_corpus: Path) -> None:
    run = run_here("info", tiny_corpus, "--json", "true")
    rows = {row["source"]: row for row in json.loads(run.stdout)}
    assert {name: row["clips_per_split"] for name, row in rows.items()} == {
        "alpha": {"train": 10},
        "beta": {"train": 6, "val": 2},
        "gamma": {"train": 10},
    }
    assert [rows["beta"][name] for name in ("domain", "videos", "cases", "samples")] == [
        "laparoscopy",
        2,
        2,
        8,
    ]
    assert rows["alpha"]["hours"] == pytest.approx(40 / 3600, abs=1e-5)
    table = run_here("info", tiny_corpus).stdout
    assert all(name in table for name in rows)


@pytest.mark.parametrize("name", ["info", "verify"])
def test_a_command_refuses_a_folder_without_a_corpus(name: str, tmp_path: Path) -> None:
    assert f"{tmp_path} contains no corpus" in refusal(run_here(name, tmp_path))


@pytest.mark.parametrize(
    "words", [("order", "--num_steps", 2), ("mix", "--samples", 24, "--json", "true")]
)
def test_a_moved_command_works_and_names_the_new_one(
    words: tuple[object, ...], tiny_corpus: Path
) -> None:
    name, *options = words
    moved, current = (run(name, tiny_corpus, *options) for run in (run_tool, run_surgrec))
    assert (moved.returncode, current.returncode) == (0, 0), moved.stderr
    assert moved.stdout == current.stdout != ""
    assert f"`surgrec-shard {name}` has moved to `surgrec {name}`" in moved.stderr
    assert current.stderr == ""


def test_a_moved_command_keeps_its_exit_status(tmp_path: Path) -> None:
    run = run_tool("order", tmp_path)
    assert run.returncode == 1
    assert f"{tmp_path} contains no corpus" in run.stderr.splitlines()[-1]


def test_no_command_needs_torch(tiny_corpus: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "videos" / "one.mp4", seconds=2)
    source = ("--videos", tmp_path / "videos", "--source", "lap", "--domain", "laparoscopy")
    commands = [
        ("info", tiny_corpus),
        ("phantom", "--help"),
        ("build", *source, "--out", tmp_path / "corpus", *QUICK),
    ]
    assert heavy_modules_of("surgrec_shard.commands", commands) == []
