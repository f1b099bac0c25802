"""A run stops if it is asked to by a signal or by a file that is meant for it."""

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
import torch
from torch.distributed import TCPStore

from surgrec.runs import RunFiles, read_rows
from surgrec.training._launcher import age_of
from surgrec.training._stop import AgreedStop, StopRequest, remember_early_signals
from tests.support.in_process import train


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


def test_a_signal_during_the_start_counts_once(run_dir: Path) -> None:
    remember_early_signals()
    os.kill(os.getpid(), signal.SIGTERM)
    assert StopRequest(run_dir, watch_file=True).signaled
    assert not StopRequest(run_dir, watch_file=True).signaled


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
    before_s = time.monotonic()
    with subprocess.Popen(["sleep", "10"]) as process:
        started_s = time.monotonic()
        time.sleep(0.3)
        asked_s = time.monotonic()
        age_s = age_of(psutil.Process(process.pid))
        assert asked_s - started_s - 0.1 <= age_s <= time.monotonic() - before_s + 0.1
        process.kill()


class LaterRequest(StopRequest):
    """A request to stop that a thread gets during one of its steps; signals are of a process."""

    def __init__(self) -> None:
        self._signaled = self._watch_file = False

    def ask(self) -> None:
        self._signaled = True

    def _version(self) -> None:
        return None


def steps_until_the_stop(seed: int, ranks: int) -> list[int]:
    """Return the last step of each of several threads, which exchange gradients in each step."""
    chance = random.Random(seed)
    asked_at = {rank: chance.randrange(1, 30) for rank in chance.sample(range(ranks), 2)}
    server = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=30))
    exchange = threading.Barrier(ranks, timeout=30)

    def rank_steps(rank: int) -> int:
        request, delays = LaterRequest(), random.Random(f"{seed} {rank}")
        stop = AgreedStop(request, server.clone(), torch.device("cpu"))
        for step in range(1000):
            time.sleep(delays.random() * 1e-3)
            exchange.wait()
            time.sleep(delays.random() * 1e-3)
            if step == asked_at.get(rank):
                request.ask()
            if stop.after(step):
                assert min(asked_at.values()) < step <= min(asked_at.values()) + 1
                return step
        return 1000

    with ThreadPoolExecutor(ranks) as pool:
        return list(pool.map(rank_steps, range(ranks)))


@pytest.mark.parametrize("seed", range(5))
def test_all_ranks_stop_after_the_same_step_the_next_one(seed: int) -> None:
    last = steps_until_the_stop(seed, ranks=4)
    assert len(set(last)) == 1
    assert last[0] < 31


def test_a_request_between_two_steps_stops_all_ranks_by_the_next_one() -> None:
    """As during a probe, for which all ranks wait."""
    server = TCPStore("127.0.0.1", 0, None, True, timedelta(seconds=30))
    requests = [LaterRequest(), LaterRequest()]
    stops = [AgreedStop(request, server.clone(), torch.device("cpu")) for request in requests]
    assert not any(stop.is_coming() for stop in stops), "before the first step"
    assert not any(stop.after(4) for stop in stops)
    assert not any(stop.is_coming() for stop in stops)
    requests[1].ask()
    assert stops[1].is_coming()
    assert stops[0].is_coming(), "it hears of the other rank"
    assert all(stop.after(5) for stop in stops)


def test_a_single_process_remembers_a_request_seen_between_two_steps(run_dir: Path) -> None:
    """The file is looked for once a second, so the step may be over before the next look."""
    request = StopRequest(run_dir, watch_file=True, age_s=60.0)
    stop = AgreedStop(request, None, torch.device("cpu"))
    RunFiles(run_dir).stop.touch()
    assert stop.is_coming()
    RunFiles(run_dir).stop.unlink()
    assert stop.after(0)


def test_a_run_that_rarely_syncs_saves_and_stops_after_the_step(
    tiny_corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = RunFiles(tmp_path / "run")
    rarely = ("--steps", 5000, "--save_every", 5000, "--log.every", 5000)

    def ask() -> None:
        while not files.starts.exists():
            time.sleep(0.05)
        files.stop.touch()

    before = signal.getsignal(signal.SIGTERM)
    asking = threading.Thread(target=ask)
    asking.start()
    train("jepa", tiny_corpus, files.run_dir, *rarely)
    asking.join()
    signal.signal(signal.SIGTERM, before)

    done = len(read_rows(files.metrics))
    assert 0 < done < 1000
    assert files.checkpoint_steps() == [done]
    assert not files.stop.exists()
    assert f"with a checkpoint after {done} of 5000 steps" in capsys.readouterr().err
