"""Several processes may fill the same folder: the first complete one counts, none harms another."""

import subprocess
import sys
from pathlib import Path

import pytest
from surgrec_shard.attempts import attempt
from surgrec_shard.encode import encode_video

from tests.support.videos import TINY_ENCODING, make_video

_RUNNING = """
import sys, time
from pathlib import Path
from surgrec_shard.attempts import attempt
with attempt(Path(sys.argv[1])) as folder:
    (folder / "half").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def start(folder: Path) -> "tuple[subprocess.Popen[str], Path]":
    """Start a process that tries to fill a folder and does not end. Return where it writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _RUNNING, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_an_attempt_of_a_running_process_stays_and_that_of_a_killed_one_goes(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "clips" / "lap-1"
    process, other = start(folder)
    try:
        with attempt(folder) as mine:
            assert mine != other
            assert (other / "half").exists()
    finally:
        process.kill()
        process.wait()
    assert (other / "half").exists()
    with attempt(folder):
        assert not other.exists()
    assert not list(folder.parent.iterdir())


def test_an_attempt_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with attempt(tmp_path / "clips" / "lap-1") as folder:
            (folder / "half").write_text("half")
            raise ValueError("an error of the task")

    with pytest.raises(ValueError, match="an error of the task"):
        fail()
    assert not list((tmp_path / "clips").iterdir())


def test_clips_that_another_process_has_finished_meanwhile_are_used(tmp_path: Path) -> None:
    video = make_video(tmp_path / "op.mp4", seconds=4)
    folder = tmp_path / "spool" / "one"
    others: list[Path] = []

    def finish_meanwhile(end_s: float, fps: float) -> None:
        if not others:
            others.append(folder)
            encode_video(video, TINY_ENCODING, folder)

    encoded = encode_video(video, TINY_ENCODING, folder, accept=finish_meanwhile)
    assert others
    assert encoded == encode_video(video, TINY_ENCODING, folder)
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
