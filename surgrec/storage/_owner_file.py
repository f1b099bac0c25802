"""Owner files: locks on file systems that have none (Lustre without `flock`, some NFS and FUSE).

One process can create an owner file, and a thread of it touches the file every few seconds. If the
owner has ended, one of the processes that want the folder becomes its successor: it creates a
claim, whose name belongs to this very owner, and renames the claim to the owner file. An owner that
was only paused finds out before it writes again (`check_owned`).
"""

import atexit
import hashlib
import json
import logging
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from surgrec.errors import ConfigError, StorageError
from surgrec.json_files import decode_json
from surgrec.regular_files import open_regular_file

HEARTBEAT_S = 5.0
SILENT_S = 60.0
"""Without a heartbeat for so long, the owner on another machine has ended."""

_log = logging.getLogger(__name__)
_held: list["OwnerFile"] = []
"""Owner files of this process. A forked process belongs to the owner, too."""


def check_owned() -> None:
    """Check that no other process has taken over a folder that this process owns by a file.

    Everything that writes calls this first. It costs nothing unless this process was silent.

    Raises:
        ConfigError: Another process has taken one over.
    """
    for held in tuple(_held):
        held.check()


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that an owner file names."""

    token: str
    host: str
    machine: str
    """Boot and process namespace, in which `pid` and `started` name one process."""
    pid: int
    started: str
    silent_s: float = 0.0
    """Seconds since the last heartbeat, by the clock of the file system."""

    def has_ended(self) -> bool:
        """Return whether the process is known to have ended, or is this one.

        A process may lock a folder twice, as with locks of the kernel.
        """
        if self.machine == _machine():
            return self.pid == os.getpid() or _started(self.pid) != self.started
        return self.silent_s > SILENT_S

    def is_process_of(self, other: "Owner") -> bool:
        """Return whether this is the process of another owner file."""
        mine, theirs = ((owner.machine, owner.pid, owner.started) for owner in (self, other))
        return mine == theirs

    def words(self) -> str:
        """Return the process for a message."""
        return f" (process {self.pid} of {self.host}, last seen {self.silent_s:.0f} s ago)"


class OwnerFile:
    """An owner file of this process, touched until it is released.

    Args:
        path: The file.
        mine: Its content.
    """

    def __init__(self, path: Path, mine: Owner) -> None:
        self._path, self._mine = path, mine
        self._sure_at = _clock_s()
        """When the file was last known to be that of this process."""
        self._loss = ""
        self._ended = threading.Event()
        _held.append(self)
        threading.Thread(target=self._beat, name="lock heartbeat", daemon=True).start()
        atexit.register(self.release)

    def check(self) -> None:
        """Raise ConfigError if another process has taken the folder over."""
        # No process takes over before the silence is twice as long.
        if _clock_s() - self._sure_at > SILENT_S / 2:
            self._look()
        if self._loss:
            raise ConfigError(self._loss)

    def release(self) -> None:
        """Give the folder up."""
        self._ended.set()
        atexit.unregister(self.release)
        with suppress(ValueError):
            _held.remove(self)
        if os.getpid() == self._mine.pid and _token(self._path) == self._mine.token:
            self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        """Touch the file until the lock is released."""
        while not self._ended.wait(HEARTBEAT_S):
            self._look()
            if self._loss:
                _log.error("%s", self._loss)
                return
            with suppress(OSError):  # the next beat may succeed; others wait for a minute
                os.utime(self._path)

    def _look(self) -> None:
        """Find out whether the file is still that of this process."""
        looked_at = _clock_s()
        try:
            text, _ = _read(self._path)
        except FileNotFoundError:
            owner = None
        except OSError:  # the file system does not answer; nor can anything be written
            return
        else:
            owner = _parse(text, self._path)
            if owner.is_process_of(self._mine):  # with another token if it locked the folder twice
                self._sure_at = looked_at
                return
        if not self._ended.is_set():
            other = f" (process {owner.pid} of {owner.host})" if owner else ""
            self._loss = (
                f"{self._path.parent}: another process{other} has taken this folder over, because "
                f"this one gave no sign of life for {looked_at - self._sure_at:.0f} s; let the "
                "other one end, then run the same command again"
            )


def own(path: Path) -> OwnerFile | None:
    """Become the owner by a file. Return None if another process is the owner.

    Raises:
        OSError: The file cannot be written.
    """
    mine = Owner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
    )
    return OwnerFile(path, mine) if _take(path, path, mine) else None


def claim_on(path: Path, token: str) -> Path:
    """Return the file whose creator succeeds the owner with this token."""
    return path.with_name(f"{path.name}-{_digest(token)}")


def read_owner(path: Path) -> Owner | None:
    """Return the owner that a file names, or None if there is no file.

    A file without a valid content belongs to a process that is about to write it, or that was
    killed before.
    """
    # The time of a new file is the file system's clock, which may differ from this machine's.
    probe = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        text, heard = _read(path)
    except OSError:
        return None
    return replace(_parse(text, path), silent_s=max(0.0, now - heard))


def _take(path: Path, owner_path: Path, mine: Owner) -> bool:
    """Write a file that names this process, or succeed its owner if that has ended.

    Args:
        path: The owner file, or a claim.
        owner_path: The owner file.
        mine: The content that this process writes.
    """
    try:
        _write(path, mine)
    except FileExistsError:
        last = read_owner(path)
    else:
        return True
    if last is None or not last.has_ended():
        return False

    # The process that creates the claim succeeds this owner. If it ends before, its claim is
    # succeeded.
    claim = claim_on(owner_path, last.token)
    if not _take(claim, owner_path, mine):
        return False
    if _token(path) != last.token:  # another process was faster, and its claim is gone
        claim.unlink(missing_ok=True)
        return False
    try:
        claim.rename(path)
    except FileNotFoundError:
        return False
    return _token(path) == mine.token


def _write(path: Path, owner: Owner) -> None:
    """Write a new owner file, which must not exist."""
    row = {key: value for key, value in asdict(owner).items() if key != "silent_s"}
    with path.open("x", encoding="ascii") as file:
        try:
            json.dump(row, file)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise


def _read(path: Path) -> tuple[bytes, float]:
    """Return the content of an owner file, and the time of its last heartbeat."""
    with open_regular_file(path) as file:
        return file.read(4096), os.fstat(file.fileno()).st_mtime


def _parse(text: bytes, path: Path) -> Owner:
    try:
        return decode_json(text, Owner, str(path), error=StorageError, remedy="remove it")
    except StorageError:
        return Owner(
            token=f"damaged {_digest(repr(text))}", host="?", machine="", pid=0, started=""
        )


def _token(path: Path) -> str:
    try:
        return _parse(_read(path)[0], path).token
    except OSError:
        return ""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _clock_s() -> float:
    """Return seconds of a clock that also runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _machine() -> str:
    """Return a name of the running system and of the process namespace in it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot} {os.readlink('/proc/self/ns/pid')}"


def _started(pid: int) -> str:
    """Return the start time of a process, empty if it has ended: a number may be used again."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    is_dead = fields[0] in ("Z", "X")
    return "" if is_dead else fields[19]
