"""The private folder: the key of the pseudonyms, names behind them, resume state, and reports.

Nothing in it may enter the corpus.
"""

import contextlib
import csv
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from surgrec.errors import StorageError
from surgrec.storage import file_sha256
from surgrec_shard.disk import MOVE_PRIVATE, writing_to

_KEY_FILE, _KEY_LOCK_FILE = "key", "key.lock"
_HASHES_FILE, _LOCK_FILE = "hashes.jsonl", "build.lock"
_KEY = re.compile("[0-9a-f]{64}")


class PrivateFolder:
    """A folder that only its owner can open (mode 0700). It is created if it does not exist.

    Args:
        path: The folder.

    Raises:
        StorageError: The folder cannot be written, or its key is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            path.chmod(0o700)
        except OSError as error:
            raise StorageError(
                f"--private {path} cannot be used ({error.strerror}); give a folder "
                "that you can write"
            ) from None
        self._key = self._read_or_create_key()
        self._hashes = self._read_hashes()

    def pseudonym(self, source: str, case: str) -> str:
        """Return a case's name in the corpus: 12 hex digits.

        Only the holder of the key can link it to the case.
        """
        return hmac.new(self._key, f"{source}\0{case}".encode(), hashlib.sha256).hexdigest()[:12]

    def file_sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, from the folder if the file has not changed since.

        A file is known by its path, size and modification time. Hashing a large corpus takes hours.
        """
        state = path.stat()
        identity = f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}"
        if identity not in self._hashes:
            self._hashes[identity] = file_sha256(path)
            line = json.dumps({"file": identity, "sha256": self._hashes[identity]})
            with (
                writing_to(self.path, MOVE_PRIVATE),
                (self.path / _HASHES_FILE).open("a", encoding="utf-8") as log,
            ):
                log.write(line + "\n")
        return self._hashes[identity]

    def write_report(self, name: str, rows: Sequence[Mapping[str, object]]) -> Path:
        """Write a CSV file that may show paths and case names. Return its path.

        Args:
            name: File name.
            rows: At least one row; all have the same columns.
        """
        path = self.path / name
        partial = path.with_suffix(".partial")
        with writing_to(self.path, MOVE_PRIVATE):
            # File names need not be UTF-8: surrogateescape writes back their original bytes.
            with partial.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
                writer = csv.DictWriter(file, fieldnames=list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
            partial.replace(path)
        return path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the folder for one build, inside the `with` block.

        Raises:
            StorageError: Another build has locked it.
        """
        with (self.path / _LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageError(
                    f"another build is using {self.path}; wait until it is done, then run "
                    "this one again"
                ) from None
            yield

    def _read_or_create_key(self) -> bytes:
        path = self.path / _KEY_FILE
        with writing_to(self.path, MOVE_PRIVATE):
            if not path.is_file():
                # Two first builds at the same time must not create two keys.
                with (self.path / _KEY_LOCK_FILE).open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    if not path.is_file():
                        _write_new_key(path)
            text = path.read_text(encoding="ascii", errors="replace").strip()
        if not _KEY.fullmatch(text):
            raise StorageError(
                f"{path} does not contain a key of 64 hex digits; restore it from a backup, "
                "as a new key would rename all cases"
            )
        return bytes.fromhex(text)

    def _read_hashes(self) -> dict[str, str]:
        path = self.path / _HASHES_FILE
        if not path.is_file():
            return {}
        hashes = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):  # a line cut by a kill: that file is hashed again
                row = json.loads(line)
                hashes[row["file"]] = row["sha256"]
        return hashes


def _write_new_key(path: Path) -> None:
    """Write a new key, complete or not at all: a kill must not leave an empty file."""
    partial = path.with_suffix(".partial")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
    partial.replace(path)
