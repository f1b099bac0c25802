"""A cache of large indexes as Arrow files on the local disk.

A file is written once and then mapped: all processes of a machine share one copy in memory. Arrow
trusts the bytes that it maps, so a file is used only if it belongs to this user and its digest is
right. The digest finds damage by accident. The owner protects from other users: nobody else can
write the file, and whoever can also writes a fitting digest, of any kind.
"""

import hashlib
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pyarrow as pa
import xxhash

from surgrec.errors import ConfigError, StorageError, reason
from surgrec.regular_files import open_regular
from surgrec.shards._index import SourceIndex
from surgrec.storage import Store
from surgrec.storage.lock import try_hold
from surgrec.storage.user_cache import user_cache_folder

CACHED_FROM = 200_000
"""Fewest rows of a cached index. Reading a smaller one takes less than half a second."""
_LIMIT_GIB, _LIMIT_VARIABLE = 50.0, "SURGREC_INDEX_CACHE_GIB"
"""Most GiB of the cache, and the variable that has another number. The indexes that were not used
for the longest time are removed."""
UNUSED_S = 30 * 24 * 3600.0
"""Time after which an unused index is removed, such as that of a corpus that has changed."""
_UNFINISHED_S = 24 * 3600.0
"""Age of files that a killed process has left unfinished, and of locks."""
_MAGIC = b"SurgRec index 4\n"
_HEADER_BYTES = 64
"""Magic, digest, zeros: Arrow wants buffers at multiples of 64 bytes."""
_DIGEST_KEY = b"surgrec.keys"
_PART_BYTES = 64 << 20
_READ_BYTES = 1 << 20
_WAIT_S = 900.0
"""Longest wait for another process that makes the same file. Then this one makes it, too."""
_POLL_S = 0.2


def cached_index(
    store: Store, name: str, read: Callable[[], SourceIndex], *, entry: str
) -> SourceIndex:
    """Return an index from the cache.

    If it is absent from the cache or damaged there, or has changed in the store, it is read and
    cached first. One process does that while others wait.

    Args:
        store: The store that contains the index.
        name: Name of its file.
        read: Reads and checks the index in the store.
        entry: What `corpus.json` says about the source, on which the check depends.

    Raises:
        StorageError: The cache cannot be written, or belongs to another user.
        ConfigError: The limit of the cache is not a number.
    """
    identity = f"{store.locate(name)}\n{store.version(name)}\n{entry}"
    digest = hashlib.sha256(identity.encode("utf-8")).hexdigest()[:32]
    path = cache_folder() / f"index-{digest}.arrow"

    table = _map(path)
    if table is None:
        with _alone(path):
            table = _map(path)  # another process may have made it meanwhile
            if table is None:
                _write(read(), path)
                table = _map(path)
    if table is None:  # removed or damaged at once: the store has the index
        return read()
    return SourceIndex(table, store.locate(name), keys_digest=table.schema.metadata[_DIGEST_KEY])


def cache_folder() -> Path:
    """Return the folder of this user's indexes, which only this user can open.

    Raises:
        StorageError: It cannot be made, or belongs to another user.
    """
    return user_cache_folder("indexes", is_mapped=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process makes this file."""
    lock_name = f"{path.name}.lock"
    deadline = time.monotonic() + _WAIT_S
    while (lock := try_hold(path.parent, name=lock_name)) is None:
        if time.monotonic() > deadline:
            break
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def _map(path: Path) -> pa.Table | None:
    """Return the memory-mapped table; None if the file is missing, damaged or another user's."""
    try:
        descriptor = open_regular(path)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return None
        os.utime(descriptor)
        if os.pread(descriptor, _HEADER_BYTES, 0) != _header(path.name, descriptor):
            return None
        data = pa.memory_map(f"/proc/self/fd/{descriptor}").read_buffer()
    except (OSError, pa.ArrowException):
        return None
    finally:
        os.close(descriptor)

    table = pa.ipc.open_file(data[_HEADER_BYTES:]).read_all()
    return table if _DIGEST_KEY in (table.schema.metadata or {}) else None


def _header(name: str, descriptor: int) -> bytes:
    """Return the first bytes of a file: a digest of its name and of the digests of its parts.

    Parts are digested in threads: 0.3 s of processor time for ten million rows. They are read, not
    mapped, so that they do not count as memory of this process.
    """
    size = os.fstat(descriptor).st_size
    starts = range(_HEADER_BYTES, size, _PART_BYTES)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="digest") as threads:
        digests = threads.map(partial(_part_digest, descriptor), starts)
        digest = hashlib.sha256(name.encode() + b"".join(digests)).digest()
    return (_MAGIC + digest).ljust(_HEADER_BYTES, b"\0")


def _part_digest(descriptor: int, start: int) -> bytes:
    digest = xxhash.xxh3_128()
    for offset in range(start, start + _PART_BYTES, _READ_BYTES):
        digest.update(os.pread(descriptor, _READ_BYTES, offset))
    return digest.digest()


def _write(index: SourceIndex, path: Path) -> None:
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    table = index.table().replace_schema_metadata({_DIGEST_KEY: index.keys_digest})

    # Written under a temporary name: another process may open the file at any moment.
    try:
        _make_room(path.parent, table.nbytes)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(_HEADER_BYTES))
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        with unfinished.open("r+b") as file:
            file.write(_header(path.name, file.fileno()))
        unfinished.replace(path)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise StorageError(
            f"{path}: the index cannot be cached ({reason(error)}); "
            f"set SURGREC_CACHE to a folder on a local disk with {table.nbytes / 1e9:.1f} GB free"
        ) from None


def _remove_unused(folder: Path) -> None:
    """Remove indexes that are no longer used, and unfinished files of killed processes."""
    now = time.time()
    for pattern, age_s in (
        ("index-*.arrow", UNUSED_S),
        (".index-*.arrow.*", _UNFINISHED_S),
        ("index-*.arrow.lock*", _UNFINISHED_S),
    ):
        for path in folder.glob(pattern):
            with suppress(FileNotFoundError):
                if now - path.stat().st_mtime > age_s:
                    path.unlink()


def _limit_bytes() -> float:
    """Return the most bytes of the cache."""
    text = os.environ.get(_LIMIT_VARIABLE) or f"{_LIMIT_GIB}"
    try:
        limit_gib = float(text)
    except ValueError:
        limit_gib = math.nan
    if not limit_gib >= 0:
        raise ConfigError(
            f"{_LIMIT_VARIABLE} is {text!r}; give the most GiB of cached indexes, such as 20"
        )
    return limit_gib * 2**30


def _make_room(folder: Path, num_bytes: int) -> None:
    """Remove the indexes that were not used for the longest time. Mapped ones stay readable."""
    _remove_unused(folder)
    files = []
    for path in folder.glob("index-*.arrow"):
        with suppress(FileNotFoundError):
            status = path.stat()
            files.append((status.st_mtime, status.st_size, path))

    limit_bytes = _limit_bytes()
    total = num_bytes + sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= limit_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
