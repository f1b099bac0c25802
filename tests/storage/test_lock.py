"""One process at a time works in a folder, also where the file system has no locks."""

import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from surgrec.errors import ConfigError, StorageError
from surgrec.storage import _owner_file, check_owned
from surgrec.storage.lock import hold

HOLDER = """
import errno, fcntl, os, sys
from pathlib import Path
from surgrec.storage.lock import hold
if sys.argv[2] != "0":
    def refuse(*arguments): raise OSError(int(sys.argv[2]), os.strerror(int(sys.argv[2])))
    fcntl.lockf = refuse
lock = hold(Path(sys.argv[1]), doing="training")
print("locked", flush=True)
if input() == "release":
    lock.release()
"""


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgrec.storage.lock._WAIT_S", 0.5)


@contextmanager
def held_by_another(folder: Path, error: int = 0) -> "Iterator[subprocess.Popen[str]]":
    """Lock a folder in another process, in which lockf fails with `error` unless it is 0."""
    command = [sys.executable, "-c", HOLDER, str(folder), str(error)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let locks fail as on Lustre without flock."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr("fcntl.lockf", refuse)


def test_a_folder_that_another_process_has_locked_is_refused(tmp_path: Path) -> None:
    with held_by_another(tmp_path) as other:
        with pytest.raises(ConfigError, match=f"another process is training in {tmp_path}"):
            hold(tmp_path, doing="training")
        other.kill()  # releases the lock, however the process ends
    hold(tmp_path, doing="training").release()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("error", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_without_locks_an_owner_file_refuses_a_second_process(tmp_path: Path, error: int) -> None:
    with held_by_another(tmp_path, error) as other:
        with pytest.raises(
            ConfigError, match=f"is training in {tmp_path} \\(process {other.pid} of "
        ):
            hold(tmp_path, doing="training")

        # A killed process leaves its file, but everyone on the machine sees that it has ended.
        other.kill()
    assert (tmp_path / "lock.owner").exists()
    with hold(tmp_path, doing="training"):
        assert json.loads((tmp_path / "lock.owner").read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.usefixtures("no_locks")
def test_without_locks_a_process_that_ends_removes_its_owner_file(tmp_path: Path) -> None:
    with held_by_another(tmp_path, errno.ENOLCK) as other:
        other.communicate("end without releasing\n", timeout=20)
    assert os.listdir(tmp_path) == ["lock"]


@pytest.mark.usefixtures("no_locks")
def test_a_silent_owner_on_another_machine_loses_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = tmp_path / "lock.owner"
    row = {"token": "a", "host": "node7", "machine": "another", "pid": 1, "started": "5"}
    owner.write_text(json.dumps(row))
    with pytest.raises(ConfigError, match=r"process 1 of node7, last seen [01] s ago"):
        hold(tmp_path, doing="training")

    # Silent for a while: the process may have ended, so wait instead of refusing at once.
    monkeypatch.setattr("surgrec.storage._owner_file.SILENT_S", 13.0)
    before = owner.stat().st_mtime - 11
    os.utime(owner, (before, before))
    with hold(tmp_path, doing="training"):
        assert json.loads(owner.read_text())["pid"] == os.getpid()


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("content", ["", "[" * 5000, '{"pid": "x"}', "null"])
def test_a_damaged_owner_file_counts_as_a_process_until_it_is_old(
    tmp_path: Path, content: str
) -> None:
    owner = tmp_path / "lock.owner"
    owner.write_text(content)
    with pytest.raises(ConfigError, match="another process"):
        hold(tmp_path, doing="training")
    os.utime(owner, (1e9, 1e9))
    hold(tmp_path, doing="training").release()


@pytest.mark.usefixtures("no_locks")
def test_an_owner_keeps_its_file_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surgrec.storage._owner_file.HEARTBEAT_S", 0.02)
    owner = tmp_path / "lock.owner"
    with hold(tmp_path, doing="training"):
        os.utime(owner, (1e9, 1e9))
        for _ in range(200):
            if owner.stat().st_mtime > 1e9:
                break
            subprocess.run(["sleep", "0.02"], check=True)
        assert owner.stat().st_mtime > 1e9


OTHER = {"token": "a", "host": "node7", "machine": "another", "pid": 1, "started": "5"}


def plant(path: Path, token: str) -> None:
    """Write the file of an owner on another machine that has been silent for long."""
    path.write_text(json.dumps(OTHER | {"token": token}))
    os.utime(path, (1e9, 1e9))


def compete(path: Path, rounds: int, barrier: Barrier, won: Connection) -> None:
    """Want the folder in every round, and keep it until all have tried."""
    for _ in range(rounds):
        barrier.wait()
        owned = _owner_file.own(path)
        barrier.wait()
        won.send(owned is not None)
        if owned is not None:
            owned.release()
        barrier.wait()


def test_one_of_many_processes_succeeds_a_silent_owner(tmp_path: Path) -> None:
    path, rounds, racers = tmp_path / "lock.owner", 240, 6
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(racers + 1)
    pipes = [context.Pipe(duplex=False) for _ in range(racers)]
    processes = [
        context.Process(target=compete, args=(path, rounds, barrier, sender), daemon=True)
        for _, sender in pipes
    ]
    for process in processes:
        process.start()

    for number in range(rounds):
        plant(path, f"{number}")
        if number % 3 == 0:  # a process was killed between its claim and its succession
            plant(_owner_file.claim_on(path, f"{number}"), f"killed {number}")
        for _ in range(3):
            barrier.wait(timeout=30)
        assert [receiver.recv() for receiver, _ in pipes].count(True) == 1, number
        assert os.listdir(tmp_path) == []
    for process in processes:
        process.join()


@pytest.mark.parametrize("released", [False, True])
def test_a_late_process_does_not_succeed_the_successor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, released: bool
) -> None:
    path = tmp_path / "lock.owner"
    plant(path, "a")
    judge = _owner_file.Owner.has_ended
    meanwhile = ["another"]

    def has_ended(owner: _owner_file.Owner) -> bool:
        ended = judge(owner)
        if meanwhile:  # another process sees the same owner, and is faster
            meanwhile.pop()
            other = stack.enter_context(held_by_another(tmp_path, errno.ENOLCK))
            if released:
                other.communicate("release\n", timeout=20)
        return ended

    with ExitStack() as stack:
        monkeypatch.setattr(_owner_file.Owner, "has_ended", has_ended)
        assert _owner_file.own(path) is None
        assert path.exists() != released
        owned = _owner_file.own(path)
        assert (owned is not None) == released
        if owned is not None:
            owned.release()
    assert [name for name in os.listdir(tmp_path) if "-" in name] == []


PAUSED = """
import sys
from pathlib import Path
from surgrec.errors import SurgrecError
from surgrec.runs import append_rows
from surgrec.storage import _owner_file, open_owned, open_store
folder = Path(sys.argv[1])
_owner_file.SILENT_S, _owner_file.HEARTBEAT_S = 0.6, 0.1
_owner_file._machine = lambda: "another"
owned = _owner_file.own(folder / "lock.owner")
writes = {
    "store": lambda: open_store(str(folder)).write("a", b"old"),
    "rows": lambda: append_rows(folder / "a", [{"step": 1}]),
    "private": lambda: open_owned(folder / "a", "a"),
}
print("locked", flush=True)
input()
try:
    writes[sys.argv[2]]()
except SurgrecError as error:
    print(error, flush=True)
"""


@pytest.mark.usefixtures("no_locks")
@pytest.mark.parametrize("kind", ["store", "rows", "private"])
def test_a_paused_owner_finds_its_loss_before_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("surgrec.storage._owner_file.SILENT_S", 0.6)
    command = [sys.executable, "-c", PAUSED, str(tmp_path), kind]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        other.send_signal(signal.SIGSTOP)
        time.sleep(0.8)
        with hold(tmp_path, doing="training"):
            os.kill(other.pid, signal.SIGCONT)
            said, _ = other.communicate("\n", timeout=20)
            assert (tmp_path / "lock.owner").exists()  # it is not removed at the exit
            assert not (tmp_path / "a").exists()
    assert f"{tmp_path}: another process (process {os.getpid()} of " in said
    assert "has taken this folder over, because this one gave no sign of life for " in said
    assert said.count("\n") == 1


@pytest.mark.usefixtures("no_locks")
def test_a_process_that_locks_a_folder_twice_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surgrec.storage._owner_file.SILENT_S", 0.0)
    with hold(tmp_path, doing="training"), hold(tmp_path, doing="training"):
        check_owned()


def test_a_lock_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=f"{tmp_path}/lock: the lock file cannot be written"):
        hold(tmp_path, doing="training")
    assert not (tmp_path / "elsewhere").exists()
