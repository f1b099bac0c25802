"""The bytes that were hashed are the bytes that are encoded; files that change are tried again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import surgrec_shard.video_tasks
from surgrec_shard.private import PrivateFolder, state_of

from surgrec.recordings import BadVideoError, Recording
from tests.support.tool import (
    QUICK,
    build_folder,
    digests,
    read_report,
    refusal,
    run_here,
    same_key,
)
from tests.support.videos import make_video


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Return a folder of three videos."""
    for name, pattern in (("a", "testsrc"), ("b", "testsrc2"), ("c", "mandelbrot")):
        make_video(tmp_path / "videos" / f"{name}.mp4", seconds=4, pattern=pattern)
    make_video(tmp_path / "other.mp4", seconds=6, pattern="rgbtestsrc")
    return tmp_path / "videos"


@pytest.fixture
def before_encoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Callable[[], object]], None]:
    """Return a function that does something once, before a video of this name is encoded."""

    def arrange(name: str, act: Callable[[], object]) -> None:
        actions = [act]
        encode_video = surgrec_shard.video_tasks.encode_video

        def encode(path: Path, *arguments: Any) -> Any:
            if path.name == name and actions:
                actions.pop()()
            return encode_video(path, *arguments)

        monkeypatch.setattr("surgrec_shard.video_tasks.encode_video", encode)

    return arrange


def a_build(videos: Path, out: str = "corpus") -> tuple[object, ...]:
    return (*build_folder(videos), *QUICK, "--workers", 1, "--out", videos.parent / out)


def test_a_file_replaced_after_its_hash_is_left_out_and_taken_by_the_next_build(
    videos: Path, before_encoding: Callable[[str, Callable[[], object]], None]
) -> None:
    corpus = videos.parent / "corpus"
    before_encoding("b.mp4", lambda: (videos.parent / "other.mp4").replace(videos / "b.mp4"))
    built = run_here(*a_build(videos))
    assert built.returncode == 3
    assert f"skipped {videos}/b.mp4: the file was replaced or written" in built.stderr
    report = read_report(videos.parent / "corpus.private")
    assert {name: row["status"] for name, row in report.items()} == {
        "a.mp4": "packed",
        "b.mp4": "changed",
        "c.mp4": "packed",
    }
    dropped = parquet.read_table(corpus / "lap" / "dropped.parquet").to_pylist()
    assert [row["reason"] for row in dropped] == ["changed"]

    # The next build takes the new bytes, and gives what a new build would give.
    again = run_here(*a_build(videos))
    assert again.returncode == 0, again.stderr
    private = same_key(videos.parent / "corpus.private", videos.parent / "fresh.private")
    assert run_here(*a_build(videos, "fresh"), "--private", private).returncode == 0
    assert digests(corpus) == digests(videos.parent / "fresh")
    assert run_here("verify", corpus, "--decode", "true").returncode == 0


def test_a_file_that_grows_while_it_is_encoded_is_left_out(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = surgrec_shard.encode.inspect

    def grow(recording: Recording) -> Any:
        if recording.path.name == "b.mp4":
            with recording.path.open("ab") as file:
                file.write(b"more")
        return inspect(recording)

    monkeypatch.setattr("surgrec_shard.encode.inspect", grow)
    assert run_here(*a_build(videos)).returncode == 3
    assert read_report(videos.parent / "corpus.private")["b.mp4"]["status"] == "changed"


def test_a_file_that_grows_while_it_is_hashed_is_left_out(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread, path = os.pread, videos / "b.mp4"
    size = path.stat().st_size

    def grow(descriptor: int, count: int, offset: int) -> bytes:
        if path.stat().st_size == size:
            with path.open("ab") as file:
                file.write(b"more")
        return pread(descriptor, count, offset)

    monkeypatch.setattr("os.pread", grow)
    with Recording(path) as recording, pytest.raises(BadVideoError) as caught:
        recording.sha256()
    assert (caught.value.reason, caught.value.may_pass) == ("changed", True)


def test_an_opened_file_that_another_replaces_has_changed(videos: Path, tmp_path: Path) -> None:
    with Recording(videos / "a.mp4") as recording:
        recording.require_unchanged()
        (tmp_path / "other.mp4").replace(videos / "a.mp4")
        with pytest.raises(BadVideoError, match="replaced or written"):
            recording.require_unchanged()
    with (
        Recording(videos / "a.mp4") as other,
        pytest.raises(BadVideoError, match="replaced or written"),
    ):
        other.require_unchanged(recording.identity)


def written_in_place(path: Path, content: Path) -> None:
    """Write a file of the same size as `rsync --inplace --times` does."""
    state = path.stat()
    path.write_bytes(content.read_bytes()[: state.st_size].ljust(state.st_size, b"\0"))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.unlink(),
        lambda path: os.truncate(path, 0),
        lambda path: written_in_place(path, path.parent.parent / "other.mp4"),
    ],
    ids=["vanishes", "becomes empty", "is written in place"],
)
def test_a_file_that_is_spoiled_after_its_hash_is_taken_once_it_is_back(
    videos: Path,
    before_encoding: Callable[[str, Callable[[], object]], None],
    change: Callable[[Path], object],
) -> None:
    content = (videos / "b.mp4").read_bytes()
    before_encoding("b.mp4", lambda: change(videos / "b.mp4"))
    assert run_here(*a_build(videos)).returncode == 3
    (videos / "b.mp4").write_bytes(content)
    again = run_here(*a_build(videos))
    assert again.returncode == 0, again.stderr
    assert read_report(videos.parent / "corpus.private")["b.mp4"]["status"] == "packed"


def test_a_missing_file_is_taken_by_the_next_build_once_it_exists(
    videos: Path, tmp_path: Path
) -> None:
    manifest = tmp_path / "videos.csv"
    rows = [f"videos/{name}.mp4,lap,laparoscopy,{name},train" for name in "abc"]
    manifest.write_text("\n".join(["path,source,domain,case,split", *rows]))
    build = ("build", "--manifest", manifest, "--out", tmp_path / "corpus", *QUICK)
    (videos / "b.mp4").rename(tmp_path / "away.mp4")
    assert run_here(*build).returncode == 3

    # The missing file may come, but no stored one may go.
    (videos / "a.mp4").rename(tmp_path / "a.mp4")
    shutil.copy(tmp_path / "other.mp4", videos / "a.mp4")
    (tmp_path / "away.mp4").rename(videos / "b.mp4")
    assert "has 1 video of the source 'lap' that this build does not list" in refusal(
        run_here(*build)
    )
    (tmp_path / "a.mp4").replace(videos / "a.mp4")
    built = run_here(*build)
    assert built.returncode == 0, built.stderr
    assert all(
        row["status"] == "packed" for row in read_report(tmp_path / "corpus.private").values()
    )
    assert run_here(*build).returncode == 0


def test_a_failure_that_may_pass_is_tried_again_by_the_same_command(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = surgrec_shard.encode.inspect

    def fail(recording: Recording) -> Any:
        if recording.path.name == "b.mp4":
            raise BadVideoError("unreadable", "an error of the disk", may_pass=True)
        return inspect(recording)

    with monkeypatch.context() as patch:
        patch.setattr("surgrec_shard.encode.inspect", fail)
        assert run_here(*a_build(videos)).returncode == 3
        assert run_here(*a_build(videos)).returncode == 3
    built = run_here(*a_build(videos))
    assert built.returncode == 0, built.stderr
    assert read_report(videos.parent / "corpus.private")["b.mp4"]["status"] == "packed"
    assert run_here("verify", videos.parent / "corpus").returncode == 0


def test_a_file_of_the_same_size_and_time_is_hashed_again_if_it_is_another(tmp_path: Path) -> None:
    private = PrivateFolder(tmp_path / "private")
    path, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    path.write_bytes(b"one")
    other.write_bytes(b"two")
    for file in (path, other):
        os.utime(file, (1e9, 1e9))
    with Recording(path) as recording:
        private.remember(state_of(recording), recording.sha256())
        assert private.digests_of(path) == {state_of(recording): recording.sha256()}
    other.replace(path)
    with Recording(path) as recording:
        known = PrivateFolder(tmp_path / "private").digests_of(path)
        assert known
        assert state_of(recording) not in known
