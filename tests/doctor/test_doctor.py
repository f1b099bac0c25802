"""`surgrec doctor`: each lack is a fault or a note with its remedy, and nothing stays behind."""

import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from surgrec_shard.encoder import encoder_versions

from surgrec.doctor import Finding, examine_machine
from surgrec.recordings import find_program
from tests.support.small_disk import small_disk
from tests.support.tool import surgrec_here


@pytest.fixture(autouse=True)
def found_again() -> Iterator[None]:
    """Programs are looked for once per process: forget them around each test."""
    for cached in (find_program, encoder_versions):
        cached.cache_clear()
    yield
    for cached in (find_program, encoder_versions):
        cached.cache_clear()


def findings(*arguments: object, status: int = 0) -> dict[str, dict[str, str]]:
    run = surgrec_here("doctor", *arguments, "--json")
    assert run.returncode == status, run.stdout + run.stderr
    return {finding["what"]: finding for finding in json.loads(run.stdout)}


def test_a_machine_that_has_all_is_told_without_faults(tiny_corpus: Path, tmp_path: Path) -> None:
    found = findings(tiny_corpus, "--folder", tmp_path)
    assert found["torchcodec"]["found"].endswith("decodes H.264")
    assert "x264" in found["ffmpeg"]["found"]
    assert "clips" in found[f"corpus {tiny_corpus}"]["found"]
    sources = [finding for what, finding in found.items() if what.startswith("source ")]
    assert len(sources) == len([path for path in tiny_corpus.iterdir() if path.is_dir()])
    assert all(source["found"].endswith("and decodes") for source in sources)
    assert list(tmp_path.iterdir()) == []


def test_without_ffmpeg_the_fault_names_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = findings("--folder", tmp_path, status=1)
    assert found["ffmpeg"]["state"] == "fault"
    assert "apt-get install ffmpeg" in found["ffmpeg"]["remedy"]
    assert found["torchcodec"]["state"] == "note"


def test_an_ffmpeg_without_x264_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ffmpeg", "ffprobe"):
        program = tmp_path / name
        program.write_text("#!/bin/sh\nexit 0\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = findings("--folder", tmp_path, status=1)
    assert "cannot encode with libx264" in found["ffmpeg"]["found"]


def test_a_damaged_clip_is_a_fault_of_its_source(corpus_copy: Path) -> None:
    source = sorted(path for path in corpus_copy.iterdir() if path.is_dir())[0]
    for shard in source.glob("*.tar"):
        shard.write_bytes(bytes(shard.stat().st_size))
    found = findings(corpus_copy, status=1)
    assert found[f"source {source.name}"]["state"] == "fault"


def test_an_address_without_a_corpus_is_a_fault(tmp_path: Path) -> None:
    found = findings(tmp_path / "none", status=1)
    assert "check the address" in found[f"corpus {tmp_path / 'none'}"]["remedy"]


@pytest.mark.parametrize(("place", "words"), [("file", "is a file"), ("/proc", "")])
def test_a_folder_that_cannot_hold_files_is_a_fault(place: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / place
    found = findings("--folder", folder, status=1)[f"folder {folder}"]
    assert (found["state"], words in found["found"]) == ("fault", True)
    assert found["remedy"]


def test_a_low_limit_of_open_files_is_a_note(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        found = findings("--folder", tmp_path)["open files"]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (found["state"], found["remedy"]) == ("note", "ulimit -n 4096")


def shared_memory(folder: Path) -> Finding:
    (found,) = (f for f in examine_machine(shared_memory=folder) if f.what == "shared memory")
    return found


@pytest.mark.parametrize(
    ("place", "reason"),
    [("none", "No such file or directory"), ("full", "No space left on device")],
)
def test_shared_memory_that_cannot_be_written_is_a_fault(
    place: str, reason: str, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "full", kilobytes=64):
        found = shared_memory(tmp_path / place)
    assert found.state == "fault"
    assert f"{place} cannot be written ({reason})" in found.found
    assert "mode 1777" in found.remedy


def test_little_shared_memory_is_a_note_and_stays_empty(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", kilobytes=8192):
        found = shared_memory(tmp_path / "small")
        assert list((tmp_path / "small").iterdir()) == []
    assert (found.state, "--ipc=host" in found.remedy) == ("note", True)


def test_the_table_names_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PATH", str(tmp_path))
    run = surgrec_here("doctor", "--folder", tmp_path)
    assert run.returncode == 1
    for words in ("FAULT  ffmpeg", "apt-get install ffmpeg", "shared memory", "1 fault\n"):
        assert words in run.stdout
