"""A lock on a folder, held by one process at a time.

The kernel locks a file. Some file systems have no locks (Lustre without `flock`, NFS without its
lock service, FUSE). There, a process holds the lock by an owner file, which only one process can
create and which a thread touches every few seconds.
"""

import atexit
import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from surgrec.errors import ConfigError, StorageError
from surgrec.json_files import decode_json
from surgrec.regular_files import open_regular_file

LOCK_FILE = "lock"

_WAIT_S = 10.0  # a job that was just killed needs a moment to end
_POLL_S = 0.2
_HEARTBEAT_S = 5.0
_SILENT_S = 60.0
"""Without a heartbeat for so long, the owner on another machine has ended."""
_NO_LOCKS = frozenset((errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP))

_log = logging.getLogger(__name__)


class FolderLock:
    """A held lock. It ends with `release`, or when the process ends, however it ends.

    Args:
        release: Gives the lock up.
    """

    def __init__(self, release: Callable[[], None]) -> None:
        self._release = release

    def release(self) -> None:
        """Give the lock up."""
        self._release()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def acquire(
    folder: Path,
    *,
    doing: str,
    name: str = LOCK_FILE,
    remedy: str = "end it, or choose another folder",
) -> FolderLock:
    """Lock a folder for this process, waiting up to 10 s for another process to end.

    On a file system without locks, it waits up to a minute for a silent owner.

    Args:
        folder: Folder to lock. It receives a file `name`, which may stay.
        doing: Activity that the lock protects, such as `training`; it appears in the error message.
        name: Name of the lock file.
        remedy: Advice in the error message.

    Raises:
        ConfigError: Another process holds the lock, such as a worker that outlived its killed
            launcher.
        StorageError: The lock file cannot be written.
    """
    deadline = time.monotonic() + _WAIT_S
    while (lock := try_acquire(folder, name=name)) is None:
        owner = _read_owner(_owner_path(folder, name))
        is_silent = owner is not None and owner.silent_s > 2 * _HEARTBEAT_S
        if time.monotonic() > deadline and not is_silent:
            raise ConfigError(
                f"another process is {doing} in {folder}{owner.words() if owner else ''}; {remedy}"
            )
        time.sleep(_POLL_S)
    return lock


def try_acquire(folder: Path, *, name: str = LOCK_FILE) -> FolderLock | None:
    """Lock a folder without waiting. Return None if another process holds the lock.

    Raises:
        StorageError: The lock file cannot be written.
    """
    path = folder / name
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from error

    try:
        # A lock of lockf belongs to this process alone: forked workers do not inherit it.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _NO_LOCKS:
            return _own(folder, name)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return None
        raise _unwritable(path, error) from error
    return FolderLock(lambda: os.close(descriptor))


@dataclass(frozen=True, kw_only=True)
class _Owner:
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
        return self.silent_s > _SILENT_S

    def words(self) -> str:
        """Return the process for a message."""
        return f" (process {self.pid} of {self.host}, last seen {self.silent_s:.0f} s ago)"


def _own(folder: Path, name: str) -> FolderLock | None:
    """Lock a folder by an owner file. Return None if another process owns the folder."""
    path = _owner_path(folder, name)
    mine = _Owner(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        machine=_machine(),
        pid=os.getpid(),
        started=_started(os.getpid()),
    )
    try:
        if not _take(path, mine):
            return None
    except OSError as error:
        raise _unwritable(path, error) from error
    _log.warning("%s: the file system has no file locks; %s replaces them", folder, path.name)

    # Touch the file until the lock is released. A daemon thread does not outlive the process.
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(_HEARTBEAT_S):
            with suppress(OSError):  # the next beat may succeed; others wait for a minute
                os.utime(path)

    threading.Thread(target=beat, name="lock heartbeat", daemon=True).start()

    def release() -> None:
        ended.set()
        atexit.unregister(release)
        if os.getpid() == mine.pid and _token(path) == mine.token:
            path.unlink(missing_ok=True)

    atexit.register(release)
    return FolderLock(release)


def _take(path: Path, mine: _Owner) -> bool:
    """Write the owner file, if it does not exist or its owner has ended. Return whether it did."""
    try:
        _write_owner(path, mine)
    except FileExistsError:
        owner = _read_owner(path)
    else:
        return True
    if owner is None or not owner.has_ended():
        return False

    # Two processes may replace it at once: the last one is the owner, as both see after a moment.
    fresh = path.with_name(f".{path.name}-{mine.token}")
    _write_owner(fresh, mine)
    fresh.replace(path)
    time.sleep(2 * _POLL_S)
    return _token(path) == mine.token


def _owner_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.owner"


def _write_owner(path: Path, owner: _Owner) -> None:
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


def _read_owner(path: Path) -> _Owner | None:
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
        with open_regular_file(path) as file:
            text, heard = file.read(4096), os.fstat(file.fileno()).st_mtime
    except OSError:
        return None

    silent_s = max(0.0, now - heard)
    try:
        owner = decode_json(text, _Owner, str(path), error=StorageError, remedy="remove it")
    except StorageError:
        owner = _Owner(token="", host="?", machine="", pid=0, started="")
    return replace(owner, silent_s=silent_s)


def _token(path: Path) -> str:
    owner = _read_owner(path)
    return owner.token if owner else ""


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


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"{path}: the lock file cannot be written ({error.strerror}); check the folder, its "
        "permissions and its disk"
    )
