"""A cache of large indexes as Arrow files on the local disk.

A file is written once and opened in milliseconds. All processes of a machine share one copy in
memory.
"""

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from surgrec.errors import StorageError, reason
from surgrec.shards._index import SourceIndex
from surgrec.storage import Store

CACHED_FROM = 200_000
"""Fewest rows of a cached index. Reading a smaller one takes less than half a second."""
_VERSION = 1
_DIGEST_KEY = b"surgrec.keys"


def cached_index(store: Store, name: str, read: Callable[[], SourceIndex]) -> SourceIndex:
    """Return an index from the cache.

    If it is absent from the cache, or has changed in the store, it is read and cached first.

    Files in the cache are never changed or removed, as other processes may have them mapped.

    Args:
        store: The store that contains the index.
        name: Name of its file.
        read: Reads and checks the index in the store.

    Raises:
        StorageError: The cache cannot be written.
    """
    identity = f"{_VERSION}\n{store.locate(name)}\n{store.version(name)}"
    digest = hashlib.sha256(identity.encode("utf-8")).hexdigest()[:32]
    path = cache_folder() / f"index-{digest}.arrow"

    table = _map(path)
    if table is None:
        _write(read(), path)
        table = _map(path)
        assert table is not None, "the file was written just now"
    return SourceIndex(table, store.locate(name), keys_digest=table.schema.metadata[_DIGEST_KEY])


def cache_folder() -> Path:
    """Return the folder of caches: SURGREC_CACHE, or `surgrec` in the user's cache folder."""
    chosen = os.environ.get("SURGREC_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surgrec"


def _map(path: Path) -> pa.Table | None:
    """Return the memory-mapped table, or None if the file is missing or damaged."""
    if not path.is_file():
        return None
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid:
        return None
    return table if _DIGEST_KEY in (table.schema.metadata or {}) else None


def _write(index: SourceIndex, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    table = index.table().replace_schema_metadata({_DIGEST_KEY: index.keys_digest})

    # Written under a temporary name: another process may open the file at any moment.
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StorageError(
            f"{path}: the index cannot be cached ({reason(error)}); "
            f"set SURGREC_CACHE to a folder on a local disk with {table.nbytes / 1e9:.1f} GB free"
        ) from None
