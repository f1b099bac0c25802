"""Large indexes as Arrow files on the local disk: written once, opened in milliseconds, one copy in memory for all processes."""

import hashlib
import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from surgrec.errors import StorageError
from surgrec.shards.index import SourceIndex
from surgrec.storage import Store

CACHED_FROM = 200_000
"""Rows from which on an index is cached: reading a smaller one takes less than half a second."""
_VERSION = 1
_DIGEST = b"surgrec.keys"


def cached_index(store: Store, name: str, read: Callable[[], SourceIndex]) -> SourceIndex:
    """An index out of the cache; the first time, and whenever the file in the store has changed, it is read and written there.

    The cache is the folder that SURGREC_CACHE names, else `surgrec` in the user's cache folder. Nothing in it is ever changed or
    removed, as another process may have it mapped.

    Args:
        store: Holds the index.
        name: Of its file.
        read: Reads and checks the index itself.

    Raises:
        StorageError: The cache cannot be written.
    """
    identity = f"{_VERSION}\n{store.locate(name)}\n{store.version(name)}"
    path = (
        cache_folder() / f"index-{hashlib.sha256(identity.encode('utf-8')).hexdigest()[:32]}.arrow"
    )
    cached = _open(path)
    if cached is None:
        index = read()
        _write(index, path)
        cached = _open(path)
        assert cached is not None, "what was just written can be read"
    return SourceIndex(cached, store.locate(name), keys_digest=cached.schema.metadata[_DIGEST])


def cache_folder() -> Path:
    """Where this user's caches are."""
    chosen = os.environ.get("SURGREC_CACHE")
    return (
        Path(chosen)
        if chosen
        else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "surgrec"
    )


def _open(path: Path) -> pa.Table | None:
    """The mapped table, or None where there is none or only a damaged one, which is then written anew."""
    if not path.is_file():
        return None
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    except pa.ArrowInvalid:
        return None
    return table if _DIGEST in (table.schema.metadata or {}) else None


def _write(index: SourceIndex, path: Path) -> None:
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    table = index.table().replace_schema_metadata({_DIGEST: index.keys_digest})
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise StorageError(
            f"{path}: the index cannot be cached ({error}); set SURGREC_CACHE to a folder on a local disk with "
            f"{table.nbytes / 1e9:.1f} GB free"
        ) from None
