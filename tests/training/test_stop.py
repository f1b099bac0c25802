"""A run stops if it is asked to by a signal or by a file that is meant for it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from surgrec.runs import RunFiles
from surgrec.training._launcher import age_of
from surgrec.training._stop import StopRequest


@pytest.fixture
def run_dir(tmp_path: Path) -> Iterator[Path]:
    """The folder of a run that has just started; signals are restored afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    RunFiles(tmp_path).starts.touch()
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


def test_sigterm_and_a_new_file_ask_for_a_stop(run_dir: Path) -> None:
    stop = StopRequest(run_dir, watch_file=True)
    assert not stop
    (run_dir / "STOP").touch()
    assert stop
    stop.clear()
    assert not stop
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop


def test_a_file_from_before_the_start_is_removed_and_told(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = run_dir / "STOP"
    stale.touch()
    an_hour_ago = time.time() - 3600
    os.utime(stale, (an_hour_ago, an_hour_ago))
    stop = StopRequest(run_dir, watch_file=True, age_s=60.0)
    assert not stop
    assert not stale.exists()
    assert "STOP is older than this start: it was removed" in capsys.readouterr().err
    stale.touch()
    assert stop, "the next one counts"


def test_an_old_request_that_cannot_be_removed_is_ignored_and_told(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = run_dir / "STOP"
    stale.mkdir()
    an_hour_ago = time.time() - 3600
    os.utime(stale, (an_hour_ago, an_hour_ago))
    assert not StopRequest(run_dir, watch_file=True, age_s=60.0)
    assert stale.exists()
    assert "it does not stop the run, but it cannot be removed" in capsys.readouterr().err


def test_a_file_created_while_the_launcher_starts_python_counts(run_dir: Path) -> None:
    (run_dir / "STOP").touch()
    assert StopRequest(run_dir, watch_file=True, age_s=60.0)


def test_the_clock_of_a_file_server_does_not_matter(run_dir: Path) -> None:
    """Both files have the times of a server whose clock is two hours late."""
    late = time.time() - 7200
    for name, age in (("starts.jsonl", 0), ("STOP", 5)):
        (run_dir / name).touch()
        os.utime(run_dir / name, (late - age, late - age))
    assert StopRequest(run_dir, watch_file=True, age_s=60.0)
    assert not StopRequest(run_dir, watch_file=True, age_s=1.0)


def test_a_stale_file_that_cannot_be_removed_is_ignored_until_it_is_written_again(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "STOP").mkdir()  # unlink refuses a folder, whoever runs the test
    os.utime(run_dir / "STOP", (1, 1))
    stop = StopRequest(run_dir, watch_file=True)
    assert not stop
    os.utime(run_dir / "STOP")
    assert stop
    stop.clear()


def test_a_rank_other_than_the_main_one_leaves_the_file_to_it(run_dir: Path) -> None:
    stop = StopRequest(run_dir, watch_file=False)
    (run_dir / "STOP").touch()
    assert not stop
    stop.clear()
    assert (run_dir / "STOP").exists()


def test_the_age_of_a_process_is_exact_to_a_tenth_of_a_second() -> None:
    """The time of a process's start is known to a second only; its age is not."""
    before = time.monotonic()
    with subprocess.Popen(["sleep", "10"]) as process:
        time.sleep(0.3)
        age_s = age_of(psutil.Process(process.pid))
        assert age_s == pytest.approx(time.monotonic() - before, abs=0.1)
        process.kill()
